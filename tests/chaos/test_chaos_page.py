"""The table of docs/reliability.md is what was counted, and says what was not."""

import json
from pathlib import Path
from typing import Any

from chaos.faults import FAULTS
from chaos.page import BEGIN, END, publish, row_name, table

DOCS = Path(__file__).parents[2] / "docs"


def verdict(**other: Any) -> dict[str, Any]:
    row = {"fault": "redis_down", "says": "away", "tries": 20, "jobs": 60, "touched": 50, "lost": 1}
    row |= {"duplicated": 0, "recovery_s": [3.0, 9.0, 4.0], "webhooks_repeated": 2}
    return {**row, "on": "2026-11-26", "commit": "abc1234", "load": 5.4, "weights": "nano", **other}


def test_a_verdict_takes_the_place_of_its_faults_last_one(tmp_path: Path) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    publish(verdict(), results, page)
    publish(verdict(lost=0), results, page)
    written = page.read_text()
    assert (
        "| `redis_down` | away | 20 | 60 | 50 | 0 | 0 | 4.0 / 9.0 | 2 | 2026-11-26, abc1234, load 5 |"
        in written
    )
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert "Not run yet: `worker_killed`" in written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.md"]


def test_a_row_of_another_model_stands_beside_that_of_the_small_one(tmp_path: Path) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.md"
    page.write_text(f"{BEGIN}\n{END}")
    publish(verdict(), results, page)
    publish(verdict(weights="micro", jobs=50), results, page)
    written = page.read_text()
    assert "| `redis_down` | away | 20 | 60 |" in written
    assert "| `redis_down (micro)` | away | 20 | 50 |" in written
    assert "| **40** | **110** |" in written


def test_the_published_table_is_the_one_of_the_results() -> None:
    verdicts = json.loads((DOCS / "reliability.json").read_text())
    assert {row["fault"] for row in verdicts.values()} <= set(FAULTS)
    assert all(name == row_name(row["fault"], row["weights"]) for name, row in verdicts.items())
    assert f"{BEGIN}\n{table(verdicts)}\n{END}" in (DOCS / "reliability.md").read_text()
