"""What the clients reported into docs/compatibility.json, and from there into docs/compatibility.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- begin: conformance -->", "<!-- end: conformance -->"
PASS, FAIL, MISSING = "pass", "fail", "route missing"

#: Client -> {"version": what was installed, "calls": call -> {"verdict": PASS, FAIL or MISSING, "said"}}.
Report = Mapping[str, Mapping[str, Any]]


def publish(report: Report, results: Path, page: Path) -> None:
    """The clients that ran take the places of their last reports; the others keep theirs."""
    known: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    known.update(report)
    results.write_text(json.dumps(known, indent=1) + "\n")
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table(known)}\n{END}{rest.split(END)[1]}")


def table(report: Report) -> str:
    """A row for each call, a column for each client, and the sum of the verdicts."""
    columns = [each["calls"] for each in report.values()]
    calls = list(dict.fromkeys(call for answers in columns for call in answers))
    rows = [f"| call | {' | '.join(_heading(*each) for each in report.items())} |"]
    rows.append("|---" * (len(columns) + 1) + "|")
    rows += [f"| {call} | {' | '.join(_cell(each.get(call)) for each in columns)} |" for call in calls]
    verdicts = [answer["verdict"] for answers in columns for answer in answers.values()]
    passed, missing, failed = (verdicts.count(verdict) for verdict in (PASS, MISSING, FAIL))
    sums = (
        f"{passed} of {len(verdicts)} calls pass, {missing} ask for a route that is missing, {failed} fail."
    )
    return "\n".join([*rows, "", sums])


def _heading(client: str, report: Mapping[str, Any]) -> str:
    version = report["version"]
    return client if client.endswith(version) else f"{client} ({version})"


def _cell(answer: Mapping[str, str] | None) -> str:
    if answer is None:
        return "-"
    if answer["verdict"] == PASS:
        return f"pass ({answer['said']})" if answer["said"] else "pass"
    return MISSING if answer["verdict"] == MISSING else "**fail**"
