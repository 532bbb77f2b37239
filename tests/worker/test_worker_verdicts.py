"""Verdicts on errors, the watchdog, the catalogue and the settings, each by itself."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from models.errors import NonFiniteLatents
from models.spec import MICRO, SD21
from service.contracts.failure import FailureCode
from service.storage.artifact_store import StorageUnavailable
from worker.catalogue import public_spec
from worker.device.accelerator import TorchAccelerator
from worker.failures import BadInput, Remedy, judge
from worker.film.encode import EncodeFailed
from worker.parts import worker_name
from worker.rhythm import Rhythm
from worker.settings import WorkerSettings
from worker.watchdog import EXIT_HUNG, Pulse, Watchdog

# -- verdicts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "remedy", "code", "retryable", "expected"),
    [
        (BadInput("fps 31 is outside 1..30"), Remedy.FAIL, "invalid_input", False, True),
        (NonFiniteLatents("NaN"), Remedy.FAIL, "non_finite", False, True),
        (EncodeFailed("odd"), Remedy.FAIL, "encode_failed", False, True),
        (StorageUnavailable("no"), Remedy.GIVE_BACK, "storage_unavailable", True, True),
        (torch.OutOfMemoryError("x"), Remedy.FAIL, "out_of_memory", False, True),
        (MemoryError(), Remedy.FAIL, "out_of_memory", False, True),
        (RuntimeError("CUDA error: out of memory"), Remedy.FAIL, "out_of_memory", False, True),
        (RuntimeError("CUDA error: device-side assert triggered"), Remedy.LEAVE, "internal", True, False),
        (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling"), Remedy.LEAVE, "internal", True, False),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), Remedy.FAIL, "out_of_memory", False, True),
        (torch.AcceleratorError("illegal memory access"), Remedy.LEAVE, "internal", True, False),
        (RuntimeError("shape mismatch"), Remedy.FAIL, "internal", True, False),
        (ValueError("CUDA error in a prompt"), Remedy.FAIL, "internal", True, False),
    ],
)
def test_verdicts(error: Exception, remedy: Remedy, code: str, retryable: bool, expected: bool) -> None:
    verdict = judge(error, TorchAccelerator())
    assert (verdict.remedy, verdict.failure.code) == (remedy, FailureCode(code))
    assert (verdict.failure.retryable, verdict.expected) == (retryable, expected)


def test_freeing_memory_lets_go_of_what_the_traceback_holds() -> None:
    import weakref

    class Big:
        pass

    kept: list[Any] = []

    def allocate() -> None:
        big = Big()
        kept.append(weakref.ref(big))
        raise MemoryError

    try:
        allocate()
    except MemoryError as error:
        assert kept[0]() is not None
        TorchAccelerator().free_memory(error)
        assert kept[0]() is None


# -- watchdog ------------------------------------------------------------------------------------------------


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("last_words_fail", [False, True])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_watchdog_ends_a_silent_process_even_without_last_words(last_words_fail: bool) -> None:
    ended: list[int] = []
    said: list[float] = []

    def last_words(silence_s: float) -> None:
        said.append(silence_s)
        if last_words_fail:
            raise OSError("nobody listens")

    dog = Watchdog(Pulse(), 0.1, last_words=last_words, end=ended.append)
    dog.start()
    until(lambda: bool(ended))
    dog.stop()
    assert ended[0] == EXIT_HUNG == 70
    assert said[0] > 0.1


def test_watchdog_lets_a_beating_process_be() -> None:
    ended: list[int] = []
    now, looks = 0.0, 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now

    pulse = Pulse(clock)
    dog = Watchdog(pulse, 10.0, last_words=lambda _: None, end=ended.append, look_every_s=0.005)
    dog.start()
    for _ in range(10):
        now += 9.0
        seen = looks
        until(lambda seen=seen: looks > seen)  # it has looked just before its grace was over
        pulse.beat()
    dog.stop()
    assert ended == []


def test_rhythm_outlives_a_bad_beat_and_can_be_nudged(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("one bad beat")

    rhythm = Rhythm("test", 60.0, action)
    rhythm.start()
    until(lambda: len(calls) == 1)
    until(lambda: "one bad beat" in caplog.text)
    rhythm.nudge()
    until(lambda: len(calls) == 2)
    rhythm.stop()
    rhythm.nudge()
    time.sleep(0.05)
    assert len(calls) == 2


# -- catalogue and settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [MICRO, SD21])
def test_public_bounds_allow_exactly_the_frames_of_the_architecture(spec: Any) -> None:
    stepped = dataclasses.replace(spec.frames, minimum=5, maximum=21, default=9, step=4)
    for rule in (spec.frames, stepped):
        public = public_spec(
            dataclasses.replace(spec, frames=rule), weight_hash="feedface", pool="p", samplers=["ddim"]
        )
        assert [n for n in range(50) if public.frames.allows(n)] == [n for n in range(50) if rule.allows(n)]
    assert public.sizes == spec.sizes
    assert (public.pool, public.steps.default, public.gamma.max) == ("p", spec.video_steps, 0.05)


def test_settings_refuse_a_lease_that_two_lost_beats_would_cost() -> None:
    with pytest.raises(ValidationError, match=r"BEAT_S=6.0 must be at most a third of \w+LEASE_S=15.0"):
        WorkerSettings(beat_s=6)


def test_shipped_weights_are_the_default() -> None:
    assert WorkerSettings().weights.parts[-2:] == ("models", "micro")


def test_two_starts_on_one_device_have_two_names() -> None:
    settings = WorkerSettings(CUDA_VISIBLE_DEVICES="0,1")
    one, two = worker_name(settings), worker_name(settings)
    assert one != two
    assert "gpu0_1" in one
