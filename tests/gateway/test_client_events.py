"""`events` of both clients against real gateways: typed, in order, each once, over every kind of cut."""

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.processes import Running, free_ports, python_module, wait_until
from rig.tcp_proxy import LossyProxy

from service.client import (
    AsyncClient,
    Client,
    Heard,
    NotFound,
    Unavailable,
    Unreachable,
    VideoEvent,
    VideoPreview,
    VideoReset,
)
from service.contracts.lifecycle import Stage
from service.contracts.preview import Preview, Shows
from service.store.nouns import Note

Hear = Callable[..., list[Heard]]
PICTURE = b"a picture"


@pytest.fixture(params=["waiting", "asynchronous"])
def hear(request: pytest.FixtureRequest) -> Hear:
    """`hear(url, video_id, on=...)`: all events by a client of its own; `on` is called with each."""

    def waiting(url: str, *args: Any, on: Any = lambda _: None, patience_s: float = 60, **kwargs: Any) -> Any:
        heard: list[Heard] = []
        with Client(url, patience_s=patience_s) as client:
            for event in client.events(*args, **kwargs):
                heard.append(event)
                on(event)
        return heard

    def asynchronous(
        url: str, *args: Any, on: Any = lambda _: None, patience_s: float = 60, **kwargs: Any
    ) -> Any:
        async def run() -> list[Heard]:
            heard: list[Heard] = []
            async with AsyncClient(url, patience_s=patience_s) as client:
                async for event in client.events(*args, **kwargs):
                    heard.append(event)
                    on(event)
            return heard

        return asyncio.run(run())

    return waiting if request.param == "waiting" else asynchronous


def seqs(heard: list[Heard]) -> list[int]:
    return [int(each.id.rpartition("_")[2]) for each in heard if not isinstance(each, VideoPreview)]


def note(site: Any, claim: Any, step: int) -> None:
    assert site.jobs.note(claim.job.id, claim.attempt, Note(Stage.IMAGE_TO_VIDEO, step, 500, step // 6))


def show(site: Any, claim: Any, number: int) -> None:
    picture = base64.b64encode(PICTURE).decode()
    preview = Preview(
        shows=Shows.VIDEO, step=number, steps=25, width=64, height=48, frames=4, picture=picture
    )
    assert site.jobs.preview(claim.job.id, claim.attempt, number, preview)


def test_a_story_is_heard_to_its_end_with_its_previews(
    empty_record: None, start_gateway: Any, hear: Hear
) -> None:
    site = start_gateway(heartbeat_s=0.05)  # comments everywhere: they are no events
    site.worker.announce()
    video_id = site.create()["id"]
    claims: list[Any] = []

    def go_on(event: Heard) -> None:
        match event:
            case VideoEvent(type="video.queued"):
                claims.append(site.worker.claim())
            case VideoEvent(type="video.started"):
                note(site, claims[0], 3)
            case VideoEvent(type="video.progress"):
                show(site, claims[0], 7)
            case VideoPreview():
                site.worker.finish(claims[0], site.worker.film(claims[0]))

    queued, started, progress, preview, ended = hear(site.url, video_id, on=go_on)
    assert seqs([queued, started, progress, ended]) == [1, 2, 3, 4]
    assert (progress.stage, progress.step, progress.steps) == ("image_to_video", 3, 500)
    assert (preview.video_id, preview.shows, preview.step, preview.steps) == (video_id, "video", 7, 25)
    assert (preview.width, preview.height, preview.frames, preview.picture) == (64, 48, 4, PICTURE)
    assert (ended.type, ended.state, ended.progress, ended.over) == (
        "video.completed",
        "succeeded",
        100,
        True,
    )
    assert not any(each.over for each in (queued, started, progress, preview))
    # Behind the last one there is nothing; from a place in the middle there is the rest.
    assert hear(site.url, video_id, last_event_id=ended.id) == []
    assert hear(site.url, video_id, last_event_id=started.id) == [progress, ended]


def test_a_place_that_is_lost_brings_the_whole_video(site: Any, hear: Hear) -> None:
    video_id = site.create()["id"]
    site.worker.render()
    (reset,) = hear(site.url, video_id, last_event_id="evt_another_1")
    assert isinstance(reset, VideoReset)
    assert (reset.video.id, reset.video.state, reset.over) == (video_id, "succeeded", True)


def test_streams_that_are_cut_again_and_again_tell_each_event_once(site: Any, hear: Hear) -> None:
    host, port = httpx.URL(site.url).host, httpx.URL(site.url).port
    proxy = LossyProxy((host, port or 0))
    video_id = site.create()["id"]
    claim = site.worker.claim()

    def go_on(event: Heard) -> None:
        assert isinstance(event, VideoEvent)
        step = event.step or 0
        if event.type == "video.queued":
            return
        if step < 12:
            note(site, claim, step + 1)
            if step % 3 == 0:
                proxy.cut()
        elif event.type == "video.progress":
            site.worker.finish(claim, site.worker.film(claim))

    heard = hear(f"http://127.0.0.1:{proxy.port}", video_id, on=go_on)
    assert seqs(heard) == list(range(1, 16))
    assert heard[-1].over


class Process:
    """A gateway of its own, at an address that outlives it."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            "REDIS_URL": redis_url,
            "MICROCINEMA_PORT": str(self.port),
            "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
        }
        self._folder = folder
        self.running = self._start()

    def _start(self) -> Running:
        return python_module("service.main", self._environment, self._folder, "gateway").start()

    def until_ready(self) -> None:
        def ready() -> bool:
            try:
                return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(ready, 120, "the gateway is ready")

    def kill_and_start_again(self) -> None:
        self.running.kill()
        self.running = self._start()


@pytest.fixture
def process(empty_record: None, redis_url: str, tmp_path: Path) -> Iterator[Process]:
    process = Process(redis_url, tmp_path)
    try:
        process.until_ready()
        yield process
    finally:
        process.running.end()


def test_a_gateway_that_is_killed_in_mid_stream_and_comes_back_leaves_no_gap(
    process: Process, start_gateway: Any, hear: Hear
) -> None:
    """What happens while nobody is there is told by the one that comes back."""
    site = start_gateway()
    site.worker.announce()
    video_id = site.create()["id"]
    claim = site.worker.claim()
    killed = threading.Event()

    def go_on(event: Heard) -> None:
        if isinstance(event, VideoEvent) and event.type == "video.started":
            note(site, claim, 1)
        elif isinstance(event, VideoEvent) and event.step == 1 and not killed.is_set():
            killed.set()
            process.kill_and_start_again()
            for step in (2, 3):
                note(site, claim, step)
            site.worker.finish(claim, site.worker.film(claim))

    heard = hear(process.url, video_id, on=go_on, patience_s=120)
    assert killed.is_set()
    assert seqs(heard) == [1, 2, 3, 4, 5, 6]
    assert heard[-1].over


def test_who_does_not_answer_is_given_up(hear: Hear) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Unreachable, match="does not answer"):
        hear(f"http://127.0.0.1:{port}", "video_1", patience_s=0.3)


def test_refusals_are_told_at_once(empty_record: None, start_gateway: Any, hear: Hear) -> None:
    site = start_gateway(listeners_per_owner=1)
    site.worker.announce()
    with pytest.raises(NotFound):
        hear(site.url, "video_1")
    video_id = site.create()["id"]
    with site.client.stream("GET", f"/videos/{video_id}/events") as other:
        lines = other.iter_lines()  # kept: httpx ends a stream whose iterator is gone
        next(lines)
        with pytest.raises(Unavailable):
            hear(site.url, video_id, patience_s=600)
    wait_until(lambda: site.parts.broadcast.listeners == 0, 30, "the other one has left")
    site.worker.render()
    assert seqs(hear(site.url, video_id)) == [1, 2, 3, 4]


def test_an_iterator_that_is_closed_leaves_the_stream(site: Any) -> None:
    video_id = site.create()["id"]
    with Client(site.url) as client:
        events = client.events(video_id)
        assert next(events).type == "video.queued"
        assert site.parts.broadcast.listeners == 1
        events.close()
        wait_until(lambda: site.parts.broadcast.listeners == 0, 30, "it has left")
