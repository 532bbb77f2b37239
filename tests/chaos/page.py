"""Verdicts into docs/reliability.json, and from there into the table of docs/reliability.md."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from chaos.faults import FAULTS

BEGIN, END = "<!-- begin: chaos -->", "<!-- end: chaos -->"
COLUMNS = (
    "fault",
    "what strikes",
    "tries",
    "jobs",
    "touched",
    "lost",
    "duplicated",
    "recovery p50 / max (s)",
    "webhooks repeated",
    "counted",
)
SMALL = "nano"  # the model of every row that does not name another


def publish(verdict: Mapping[str, Any], results: Path, page: Path) -> None:
    """Put one verdict in the place of its fault's last one with this model, and write the table again.

    The faults may run side by side: one process at a time changes the two files.
    """
    with page.open("r+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        verdicts = json.loads(results.read_text()) if results.exists() else {}
        verdicts[row_name(verdict["fault"], verdict["weights"])] = dict(verdict)
        results.write_text(json.dumps(verdicts, indent=1, sort_keys=True) + "\n")
        text = page.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        page.write_text(f"{before}{BEGIN}\n{table(verdicts)}\n{END}{after}")


def row_name(fault: str, weights: str) -> str:
    """`worker_killed`, and `worker_killed (micro)` where it struck workers with that model."""
    return fault if weights == SMALL else f"{fault} ({weights})"


def table(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows in the order of FAULTS, other models last, their sum, and the names of those that were not run."""
    others = sorted(name for name in verdicts if name not in FAULTS)
    done = [verdicts[name] for name in (*FAULTS, *others) if name in verdicts]
    rows = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    rows += [_row(verdict) for verdict in done]
    sums = [
        sum(int(v[column]) for v in done) for column in ("tries", "jobs", "touched", "lost", "duplicated")
    ]
    rows.append("| **all** | | " + " | ".join(f"**{number:,}**" for number in sums) + " | | | |")
    missing = [f"`{name}`" for name in FAULTS if name not in verdicts]
    rows.append("")
    rows.append(f"Not run yet: {', '.join(missing)}." if missing else "Every fault of the suite was run.")
    return "\n".join(rows)


def _row(verdict: Mapping[str, Any]) -> str:
    times = verdict["recovery_s"]
    recovery = f"{median(times):.1f} / {max(times):.1f}" if times else "no job was hit"
    counts = [verdict[name] for name in ("tries", "jobs", "touched", "lost", "duplicated")]
    name = row_name(verdict["fault"], verdict["weights"])
    load = "" if verdict["load"] is None else f", load {verdict['load']:.0f}"
    counted = f"{verdict['on']}, {verdict['commit']}{load}"
    cells = [f"`{name}`", verdict["says"], *map(str, counts), recovery]
    return "| " + " | ".join([*cells, str(verdict["webhooks_repeated"]), counted]) + " |"
