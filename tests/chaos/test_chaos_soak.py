"""What the soak takes for growth."""

import os
import socket
from collections import Counter
from dataclasses import replace

import pytest
from chaos.open_files import open_files
from chaos.soak import Reading, growth

MIB = 2**20


def readings(
    count: int, *, leak_mib: float = 0.0, files: int = 0, keys: int = 0, worker_pid: int = 3
) -> list:
    """One every ten jobs; the given growth is per reading."""
    return [
        Reading(
            jobs=50 + 10 * n,
            resident={
                ("gateway", 1): int((100 + leak_mib * n) * MIB),
                ("notifier", 2): 80 * MIB,
                ("worker-0", worker_pid if n < count - 3 else 9): (400 + (50 if n == 0 else 100)) * MIB,
            },
            files={
                ("gateway", 1): Counter({"tcp to :6379": 12 + files * n, "pipe": 5}),
                ("notifier", 2): Counter(pipe=9),
                ("worker-0", worker_pid): Counter(pipe=20),
                ("worker-0", 9): Counter(pipe=20),
            },
            keys=20 + keys * n,
        )
        for n in range(count)
    ]


def grows(found: list) -> set[str]:
    return {line.what for line in found if line.grows}


def test_a_service_at_rest_is_flat_and_a_worker_warms_up_first():
    found = growth(readings(12))
    assert grows(found) == set()
    assert [line.what for line in found] == [
        *("redis keys", "gateway MiB", "gateway files", "notifier MiB", "notifier files"),
        *("worker MiB", "worker files"),
    ]
    assert all("flat" in str(line) for line in found)


@pytest.mark.parametrize(
    ("leak", "what", "slope"),
    [
        ({"leak_mib": 0.1}, "gateway MiB", 1.0),
        ({"files": 1}, "gateway files", 10.0),
        ({"keys": 1}, "redis keys", 10.0),
    ],
)
def test_a_leak_is_named_with_its_slope_per_100_jobs(leak, what, slope):
    found = growth(readings(12, **leak))
    assert grows(found) == {what}
    (line,) = [line for line in found if line.what == what]
    assert line.per_100_jobs == pytest.approx(slope, rel=1e-3)
    assert "GROWS" in str(line)


def test_one_step_is_no_growth():
    found = readings(12)
    found[-4:] = [replace(reading, keys=22) for reading in found[-4:]]
    assert grows(growth(found)) == set()


def test_too_few_readings_are_not_called_flat():
    found = growth(readings(4, leak_mib=5.0))
    assert grows(found) == set()
    assert all("too few readings" in str(line) for line in found)


def test_files_that_grew_are_named():
    (line,) = [line for line in growth(readings(12, files=1)) if line.grows]
    assert "(first to last: +11 tcp to :6379)" in str(line)


def test_open_files_are_told_by_what_they_are(tmp_path):
    before = open_files(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "kept").open("w"):
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            more = open_files(os.getpid()) - before
    assert more == Counter(
        {
            f"tcp listens at :{port}": 1,
            f"tcp to :{port}": 1,
            f"tcp at :{port}": 1,
            (tmp_path / "kept").as_posix(): 1,
        }
    )
