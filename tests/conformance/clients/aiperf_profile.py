"""Runs in a venv that holds `aiperf` and nothing of ours: NVIDIA's load generator makes videos.

`python aiperf_profile.py DESCRIPTION.json` prints one JSON object: call -> {"verdict", "said"}.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCENE = json.loads(Path(sys.argv[1]).read_text())
VIDEOS = 6
LONGEST_S = 500


def profiled(folder):
    command = [str(Path(sys.executable).with_name("aiperf")), "profile", "--ui", "none"]
    command += ["--endpoint-type", "video-generation", "--artifact-dir", folder]
    command += ["--url", SCENE["url"].removesuffix("/v1"), "--model", SCENE["model"]]
    command += ["--tokenizer", SCENE["tokenizer"], "--request-count", str(VIDEOS), "--concurrency", "2"]
    command += ["--extra-inputs", f"seconds:{SCENE['seconds']}", "--extra-inputs", f"size:{SCENE['size']}"]
    command += ["--synthetic-input-tokens-mean", "4", "--download-video-content"]
    quiet = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1"}
    ran = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=LONGEST_S, cwd=folder, env=quiet
    )
    (report,) = [*Path(folder).rglob("profile_export_aiperf.json")] or [None]
    assert report is not None, (ran.stdout + ran.stderr)[-300:]
    found = json.loads(report.read_text())
    made, errors = found["request_count"]["avg"], found.get("error_summary") or []
    assert (made, errors) == (VIDEOS, []), (made, errors)
    return f"{VIDEOS} videos, p50 {found['request_latency']['p50'] / 1000:.1f} s"


with tempfile.TemporaryDirectory() as folder:
    try:
        answer = {"verdict": "pass", "said": profiled(folder)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the table
        answer = {"verdict": "fail", "said": f"{type(error).__name__}: {error}"[:300]}
print(json.dumps({"load generated": answer}))
