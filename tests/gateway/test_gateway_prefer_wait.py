"""`Prefer: wait`: the answer comes when the job has ended, or when the time is over."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from rig.processes import wait_until

from service.api.presenting import asked_wait
from service.intake.waiting_room import LONGEST_WAIT_S, WaitingRoom
from service.refusals import RecordUnavailable


def post(site: Any, prefer: str) -> Any:
    return site.client.post("/videos", json={"prompt": "x"}, headers={"prefer": prefer})


def test_the_answer_is_the_finished_job(site: Any) -> None:
    def render() -> None:
        while not site.client.get("/videos").json()["data"]:
            time.sleep(0.05)
        site.worker.render()

    gpu = threading.Thread(target=render)
    gpu.start()
    answer = post(site, "wait=20")
    gpu.join()
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.json()["urls"]["video_link"]


def test_a_job_that_goes_on_is_a_202_after_all(site: Any) -> None:
    answer = post(site, "wait=0")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=0"


def test_what_cannot_be_read_is_ignored_as_preferences_are(site: Any) -> None:
    answer = post(site, "wait=soon")
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=20", 20),
        ('respond-async, WAIT="5"; x=1', 5),
        ("await=20", None),
        ("wait=2.5", None),
        ("wait=-1", None),
        ("", None),
        (None, None),
    ],
)
def test_which_wait_is_asked(header: str | None, seconds: int | None) -> None:
    assert asked_wait(header) == seconds


class Scene:
    """A job that ends after `looks` looks, and a clock that only pauses move."""

    def __init__(self, looks: int, at_rest: bool = False) -> None:
        self.left, self.now, self.at_rest = looks, 0.0, at_rest

    async def look(self) -> Any:
        self.left -= 1
        self.at_rest = self.left <= 0
        return self

    async def pause(self, seconds: float) -> None:
        self.now += seconds

    async def here(self) -> bool:
        return False

    async def gone(self) -> bool:
        return True

    async def unavailable(self) -> Any:
        raise RecordUnavailable("away")

    def room(self, places: int = 1) -> WaitingRoom:
        return WaitingRoom(places, lambda: self.now, self.pause)


def test_the_wait_is_bounded_by_time_by_places_and_by_the_client() -> None:
    scene = Scene(looks=10**6)
    assert not asyncio.run(scene.room().until_ended(scene.look, 10**5, scene.here)).at_rest
    assert scene.now == pytest.approx(LONGEST_WAIT_S)
    assert asyncio.run(scene.room(places=0).until_ended(scene.look, 10, scene.here)) is None
    before = scene.now
    assert asyncio.run(scene.room().until_ended(scene.look, 10, scene.gone)) is not None
    assert scene.now == before
    assert asyncio.run(Scene(3).room().until_ended(scene.unavailable, 10, scene.here)) is None


def test_a_place_is_free_again_afterwards() -> None:
    scene = Scene(looks=3)
    room = scene.room()
    for _ in range(2):
        assert asyncio.run(room.until_ended(scene.look, 10, scene.here)).at_rest


def test_a_wait_ends_when_it_is_the_owners_turn(site: Any) -> None:
    """The job's worker stops behind its keyframe: the rest is up to whoever waits here."""
    with ThreadPoolExecutor(1) as pool:
        body = {"prompt": "a red circle", "pause_after": "image"}
        asked = pool.submit(site.client.post, "/videos", json=body, headers={"Prefer": "wait=60"})
        wait_until(lambda: site.jobs.list_jobs("default").jobs, 30, "the job is there")
        site.worker.offer()
        answer = asked.result(30)
    assert (answer.status_code, answer.json()["state"]) == (202, "awaiting_approval")
