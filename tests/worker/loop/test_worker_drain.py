"""`microcinema worker drain`: the worker hears it where it says that it lives."""

from typing import Any

from service.contracts.lifecycle import State
from service.store.controls import ControlStore


def test_a_worker_told_to_drain_finishes_its_job_claims_nothing_and_ends_with_0(ward: Any, loop: Any) -> None:
    controls = ControlStore(ward.store.store)

    def drain() -> None:
        assert controls.drain(["w1"]) == ("w1",)
        ward.submit("video_b")

    ward.renderer.at = {("image_to_video", 2): drain}
    ward.submit("video_a")
    code, _ = loop.run(ward)  # nothing else ends it
    assert code == 0
    assert ward.job("video_a").state is State.SUCCEEDED
    assert (ward.job("video_b").state, ward.job("video_b").attempt) == (State.QUEUED, 0)
    assert controls.live_workers() == ()


def test_an_idle_worker_told_to_drain_ends_too_and_its_successor_works(ward: Any, loop: Any) -> None:
    controls = ControlStore(ward.store.store)

    def watch() -> None:
        loop.until(lambda: ward.store.live_workers("default") == 1)
        assert controls.drain() == ("w1",)
        loop.until(lambda: ward.store.live_workers("default") == 0)

    beside = loop.meanwhile(watch)
    assert loop.run(ward)[0] == 0
    beside.finish()
    ward.submit()
    assert len(ward.store.claim("default", "w1", 1, 2.0, ["fake"])) == 1
