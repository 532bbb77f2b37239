"""The loop in fair weather and under orders: jobs in a row, signals, commands, probes, wrong settings."""

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from rig.processes import free_ports
from rq.command import send_command

from service.contracts.lifecycle import Stage, State
from worker.events import AttemptEnded, WeightsLoaded
from worker.main import main


def test_jobs_run_one_after_the_other_on_weights_loaded_once(ward: Any, loop: Any) -> None:
    ids = [ward.submit(f"video_{n}") for n in range(3)]

    def watch() -> None:
        loop.until(lambda: all(ward.job(job_id).terminal for job_id in ids))

    beside = loop.meanwhile(watch)
    code, metrics = loop.run(ward)
    beside.finish()
    assert code == 0
    assert [ward.job(job_id).state for job_id in ids] == [State.SUCCEEDED] * 3
    assert (ward.loads, ward.renderer.warm_ups, len(ward.heard(WeightsLoaded))) == (1, 1, 1)
    assert loop.value(metrics, "model_loads_total") == 1
    assert loop.value(metrics, "attempts_total", outcome="succeeded", code="") == 3
    assert loop.value(metrics, "step_seconds_count", stage="image_to_video") == 18
    assert loop.value(metrics, "stage_seconds_count", stage="encode") == 3
    spent = sum(loop.value(metrics, "gpu_seconds_total", stage=stage) for stage in Stage)
    assert spent == pytest.approx(sum(ward.job(job_id).usage["gpu_seconds"] for job_id in ids), abs=0.01)
    assert spent > 0
    assert loop.value(metrics, "attempts_running") == 0
    assert loop.value(metrics, "batch_jobs_count") == 3
    assert ward.store.live_workers("default") == 0  # it has left the list
    assert ward.store.catalogue()["fake"].spec.weight_hash == ward.renderer.weight_hash


def test_sigterm_before_the_loop_ends_at_once_with_nothing_claimed(ward: Any, loop: Any) -> None:
    ward.renderer.warm_up = loop.sigterm
    ward.submit()
    assert loop.run(ward)[0] == 0
    assert (ward.job().state, ward.job().attempt) == (State.QUEUED, 0)


def test_first_sigterm_drains(ward: Any, loop: Any) -> None:
    ward.renderer.at = {("image_to_video", 2): loop.sigterm}
    ward.submit("video_a")
    ward.submit("video_b")
    code, _ = loop.run(ward)
    assert code == 0
    assert ward.job("video_a").state is State.SUCCEEDED
    assert (ward.job("video_b").state, ward.job("video_b").attempt) == (State.QUEUED, 0)


def test_second_sigterm_hands_the_job_back_without_a_loss(ward: Any, loop: Any) -> None:
    def twice() -> None:
        loop.sigterm()
        time.sleep(1.1)  # sooner it would be an echo of the first
        loop.sigterm()

    ward.renderer.at = {("image_to_video", 2): twice}
    ward.submit()
    code, _ = loop.run(ward)
    assert code == 0
    job = ward.job()
    assert (job.state, job.attempt, job.lost) == (State.QUEUED, 1, 0)
    assert [event.code for event in ward.heard(AttemptEnded)] == ["worker_stopped"]


def test_echo_of_a_signal_does_not_cost_the_job(ward: Any, loop: Any) -> None:
    def echoed() -> None:
        loop.sigterm()
        os.kill(os.getpid(), signal.SIGINT)

    ward.renderer.at = {("image_to_video", 2): echoed}
    ward.submit()
    assert loop.run(ward)[0] == 0
    assert ward.job().state is State.SUCCEEDED


def test_broken_device_ends_the_process_with_71(ward: Any, loop: Any) -> None:
    def fault() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    ward.renderer.at = {("image_to_video", 2): fault}
    ward.submit()
    code, metrics = loop.run(ward)
    assert code == 71
    assert (ward.job().state, ward.job().lost) == (State.QUEUED, 1)
    assert loop.value(metrics, "faults_total", kind="device") == 1


def test_hung_step_ends_the_process_with_70_and_gives_the_job_back(ward: Any, loop: Any) -> None:
    """Beats alone would keep the lease of a worker that does nothing for ever."""
    at_the_end: list[tuple[int, State, int]] = []
    ended = threading.Event()

    def end(code: int) -> None:
        if not ended.is_set():
            at_the_end.append((code, ward.job().state, ward.job().lost))
            ended.set()

    ward.renderer.at = {("image_to_video", 3): lambda: ended.wait(10)}
    ward.submit()
    beside = loop.meanwhile(lambda: ended.wait(10))
    _, metrics = loop.run(ward, end, hang_grace_s=2.5)  # longer than an idle turn of the loop
    beside.finish()
    assert at_the_end == [(70, State.QUEUED, 1)]
    assert [event.outcome for event in ward.heard(AttemptEnded)] == ["lost"]
    assert loop.value(metrics, "faults_total", kind="hung") >= 1


def test_beats_keep_a_job_that_outlives_its_lease(ward: Any, loop: Any) -> None:
    ward.renderer.at = {("image_to_video", 3): lambda: time.sleep(3.5)}
    ward.submit()
    beside = loop.meanwhile(lambda: loop.until(lambda: ward.job().terminal))
    loop.run(ward, lease_s=3.0, beat_s=0.2)
    beside.finish()
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 1)


def test_cancel_command_is_heard_long_before_the_next_beat(ward: Any, loop: Any) -> None:
    reached, called_off = threading.Event(), threading.Event()

    def slow() -> None:
        reached.set()
        called_off.wait(30)
        time.sleep(1.0)

    ward.renderer.at = {("image_to_video", step): slow for step in range(1, 7)}
    ward.submit()

    def cancel() -> None:
        assert reached.wait(30)
        for nonsense in ("not json", "{}", "[1]", '{"command": "stop-execution"}'):
            ward.connect().publish("rq:pubsub:w1", nonsense)
        ward.store.cancel("default", "video_a")
        ward.tickets.call_off("w1", "video_a")
        called_off.set()
        loop.until(lambda: ward.job().terminal)

    beside = loop.meanwhile(cancel)
    loop.run(ward, lease_s=180.0, beat_s=60.0)
    beside.finish()
    assert ward.job().state is State.CANCELLED
    assert ward.renderer.closed == 1


def test_shutdown_command_of_rq_still_works(ward: Any, loop: Any) -> None:
    ward.renderer.at = {("image_to_video", 2): lambda: send_command(ward.connect(), "w1", "shutdown")}
    ward.submit()
    assert loop.run(ward)[0] == 0
    assert ward.job().state is State.SUCCEEDED


def test_probes_tell_loading_from_ready_and_serve_metrics(ward: Any, loop: Any) -> None:
    (port,) = free_ports(1)

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
        loop.until(lambda: bool(loading) and ask("/readyz")[0] == 200)
        ready.extend([ask("/livez"), ask("/metrics"), ask("/nothing")])

    beside = loop.meanwhile(look)
    loop.run(ward, probe_port=port)
    beside.finish()
    assert [status for status, _ in loading] == [200, 503]
    assert json.loads(loading[1][1])["warm"] is False
    assert [status for status, _ in ready] == [200, 200, 404]
    assert "microcinema_worker_model_loads_total 1.0" in ready[1][1]


def test_missing_redis_url_is_said_and_not_guessed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main() == os.EX_CONFIG
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
    assert main() == os.EX_CONFIG
    said = capsys.readouterr().err
    assert "cannot_start" in said
    assert "nowhere" in said
    assert "Traceback" not in said
