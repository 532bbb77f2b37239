"""Who may read the time of day of a host: hosts disagree by minutes, and no job may be lost over that.

What decides about a job takes its time from the Redis server, or counts seconds by a monotonic clock.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

READERS = {
    "service/main.py": "bounds of an absolute deadline at its arrival; the record judges from then on",
    "service/janitor.py": "the age of objects that no attempt can name any more; without a record an hour",
    "service/storage/settings.py": "how long a link of the local folder holds",
    "service/storage/files.py": "files that a killed writer left an hour ago",
    "service/contracts/ids.py": "the beginning of a new id, so that names sort by age",
    "service/notifier/post.py": "the timestamp of a webhook, which its receiver holds against its own clock",
    "service/notifier/metrics.py": "how long after its event a webhook arrived; a number to look at",
    "service/notifier/spans.py": "when the spans of a trace began and ended; traces are of no say in a job",
    "worker/spans.py": "the same",
    "service/client/asking.py": "how far off a Retry-After is that names a date; in the client's own process",
    "worker/provenance/certificate.py": "from when on a certificate of our own holds",
    "service/logs.py": "the timestamp of a line, for people and for where lines are gathered",
    "service/rates.py": "windows of callers, which the library `limits` counts by the time of its host",
}
OF_TIME = {"time", "time_ns", "gmtime", "localtime", "strftime", "ctime"}
OF_DATETIME = {"now", "utcnow", "today", "fromtimestamp"}


def wall_clocks(source: str) -> list[int]:
    """Lines that name a clock of the host's time of day, called or passed on."""
    tree = ast.parse(source)
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (owner, node.attr) == ("datetime", "fromtimestamp"):
                continue  # a moment that somebody else has named
            if (owner == "time" and node.attr in OF_TIME) or (
                owner in ("datetime", "date") and node.attr in OF_DATETIME
            ):
                lines.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            lines += [node.lineno for name in node.names if name.name in OF_TIME]
    return lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import time\nnow = time.time()", [2]),
        ("def f(clock=time.time): ...", [1]),
        ("from time import time", [1]),
        ("import datetime\nx = datetime.datetime.now()\ny = datetime.now(UTC)", [2, 3]),
        ("time.monotonic(); time.sleep(1); datetime.fromtimestamp(t, UTC)", []),
    ],
)
def test_the_search_finds_what_it_is_for(source: str, lines: list[int]) -> None:
    assert wall_clocks(source) == lines


def test_the_time_of_day_is_read_by_named_files_only() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for part in ("service", "worker", "models")
        for path in (ROOT / part).rglob("*.py")
        if wall_clocks(path.read_text())
    }
    assert found == set(READERS)


def test_the_record_asks_the_server_for_its_time_in_one_place() -> None:
    scripts = (ROOT / "service/store/lua").glob("*.lua")
    assert [path.name for path in scripts if "'TIME'" in path.read_text()] == []
    assert (ROOT / "service/store/script.py").read_text().count("'TIME'") == 1
