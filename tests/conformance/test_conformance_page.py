"""The table of docs/compatibility.md is what the clients reported, and hides no call that does not work."""

import json
from pathlib import Path
from typing import Any

import pytest
from conformance.page import BEGIN, END, publish, table
from conformance.run import CLIENTS, SCRIPTS, without_npm

DOCS = Path(__file__).parents[2] / "docs"


def report(version: str = "2.2.0", **verdicts: str) -> dict[str, Any]:
    calls = {call: {"verdict": verdict, "said": ""} for call, verdict in verdicts.items()}
    return {"version": version, "calls": calls}


def test_a_client_takes_the_place_of_its_last_report(tmp_path: Path) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    publish({"a newest": report("1.0", list="fail"), "b 2.2.0": report(remix="route missing")}, results, page)
    publish({"a newest": report("1.1", list="pass")}, results, page)
    written = page.read_text()
    assert "| call | a newest (1.1) | b 2.2.0 |" in written
    assert "| list | pass | - |" in written
    assert "| remix | - | route missing |" in written
    assert "1 of 2 calls pass, 1 ask for a route that is missing, 0 fail." in written
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written


def test_a_failure_stands_out() -> None:
    assert "| list | **fail** |" in table({"a 1": report("1", list="fail")})


def test_the_published_table_is_the_one_of_the_report() -> None:
    reported = json.loads((DOCS / "compatibility.json").read_text())
    assert set(reported) == set(CLIENTS)
    assert f"{BEGIN}\n{table(reported)}\n{END}" in (DOCS / "compatibility.md").read_text()


def test_every_client_has_its_script() -> None:
    assert {client.script for client in CLIENTS.values()} == {path.name for path in SCRIPTS.glob("*.*")}


def test_without_npm_its_clients_are_left_out_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert without_npm(["openai 2.2.0", "npm openai newest"]) == ["npm openai newest"]
    assert "npm openai newest: NOT RUN" in capsys.readouterr().out


def test_what_takes_a_gigabyte_is_run_by_name_only() -> None:
    assert [name for name, client in CLIENTS.items() if client.heavy] == ["aiperf newest"]
