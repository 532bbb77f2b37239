"""Runs in a venv that holds `schemathesis` and nothing of ours: fuzzes every documented route.

`python schemathesis_fuzz.py DESCRIPTION.json` prints one JSON object: call -> {"verdict", "said"}.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
FEWEST_CASES = 2000
EXAMPLES = 200  # at most, of each route
LONGEST_S = 500


def fuzzed(document):
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--continue-on-failure"]
        options += ["--generation-database", "none", "--seed", "1", "--no-shrink", "--no-color"]
        options += ["--report", "json", "--report-json-path", str(report)]
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", document, *options]
        ran = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LONGEST_S, cwd=folder
        )
        if not report.exists():
            return {"verdict": "fail", "said": (ran.stdout + ran.stderr)[-300:]}
        found = json.loads(report.read_text())
    cases, failures = found["test_cases"]["generated"], found["failures"] + found["errors"]
    whole = found["complete"] and found["operations"]["tested"] == found["operations"]["total"]
    if failures or ran.returncode or not whole:
        return {"verdict": "fail", "said": f"{cases} cases: {json.dumps(failures)}"[:2000]}
    if cases < FEWEST_CASES:
        return {"verdict": "fail", "said": f"only {cases} cases"}
    return {"verdict": "pass", "said": f"{cases:,} cases"}


scene = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps({"OpenAPI fuzzed": fuzzed(scene["url"].removesuffix("/v1") + "/openapi.json")}))
