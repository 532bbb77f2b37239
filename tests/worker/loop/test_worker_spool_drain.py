"""A worker that is to end while rendered videos wait, and what its probes say while it has no room."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from rig.down import Down
from rig.processes import free_ports

from service.contracts.lifecycle import State
from worker.events import SpoolFull


@pytest.fixture
def down(ward: Any) -> Down:
    return Down(ward.storage, times=0, away=True)


def when_it_waits(ward: Any, loop: Any, then: Any) -> Any:
    """Do `then` once the video of the only job waits in the spool; SIGTERM follows, if not before."""

    def watch() -> None:
        loop.until(lambda: ward.job().stage == "upload", 30)
        then()

    return loop.meanwhile(watch)


def test_a_drain_waits_for_the_storage_and_then_ends(ward: Any, loop: Any, down: Down) -> None:
    def drain() -> None:
        loop.sigterm()
        time.sleep(1.5)
        assert ward.job().state is State.RUNNING  # beside the drain the lease is kept
        down.away = False
        loop.until(lambda: ward.job().state is State.SUCCEEDED)  # a second SIGTERM follows

    ward.submit()
    beside = when_it_waits(ward, loop, drain)
    code, metrics = loop.run(ward, storage=down, spool_drain_s=60.0)
    beside.finish()
    assert code == 0
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 1)
    assert len(ward.renderer.animated) == 1
    assert loop.value(metrics, "spool_videos") == loop.value(metrics, "spool_bytes") == 0


def test_a_drain_that_is_over_hands_back_what_waits(ward: Any, loop: Any, down: Down) -> None:
    ward.submit()
    beside = when_it_waits(ward, loop, lambda: None)
    assert loop.run(ward, storage=down, spool_drain_s=0.5)[0] == 0
    beside.finish()
    assert (ward.job().state, ward.job().attempt, ward.job().lost) == (State.QUEUED, 1, 0)
    assert ward.outcomes() == [("video_a", 1, "released", "worker_stopped")]


def test_a_second_sigterm_ends_the_drain(ward: Any, loop: Any, down: Down) -> None:
    def twice() -> None:
        loop.sigterm()
        time.sleep(3.5)  # the loop turns within two seconds, and an echo of the signal does not count
        loop.sigterm()

    ward.submit()
    beside = when_it_waits(ward, loop, twice)
    began = time.monotonic()
    assert loop.run(ward, storage=down, spool_drain_s=600.0)[0] == 0
    assert time.monotonic() - began < 300
    beside.finish()
    assert (ward.job().state, ward.job().lost) == (State.QUEUED, 0)


def test_a_worker_without_room_is_not_ready_and_says_why(ward: Any, loop: Any, down: Down) -> None:
    (port,) = free_ports(1)
    answers: list[dict[str, bool]] = []

    def ask() -> dict[str, bool]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                return dict(json.load(error))

    def watch() -> None:
        loop.until(lambda: bool(ward.heard(SpoolFull)), 30)
        answers.append(ask())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"microcinema_worker_spool_full 1.0" in answer.read()
        ward.submit("video_b")
        time.sleep(2.5)  # two sweeps push tickets for it
        assert ward.job("video_b").attempt == 0
        down.away = False
        loop.until(lambda: ward.job("video_b").state is State.SUCCEEDED, 30)
        answers.append(ask())

    beside = loop.meanwhile(watch)
    ward.submit()
    loop.run(ward, storage=down, spool_videos=1, probe_port=port)
    beside.finish()
    assert [answer["room"] for answer in answers] == [False, True]
    assert answers[1]["accepting"]
