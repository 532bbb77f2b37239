"""Public pipelines in miniature through the whole worker: what is not finite, what is slow and what hangs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rig.tiny_pipelines import write_tiny

from models.nano import write_nano
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import State
from worker.loading import Loaded, load, plan_of
from worker.main import Worker
from worker.settings import WorkerSettings
from worker.watchdog import EXIT_HUNG, Pulse

NAN, INFINITY = float("nan"), float("inf")
FILM = {"model": "modelscope", "width": 64, "height": 64, "num_frames": 8, "num_inference_steps": 4}
WISHES = {
    "modelscope": FILM | {"gamma": 0.0, "sampler": "DDIM"},
    "nano": {"model": "nano", "width": 32, "height": 32, "num_inference_steps": 4},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    write_nano(root / "nano")
    return {"nano": root / "nano", **{name: write_tiny(name, root) for name in ("modelscope", "sd3")}}


@pytest.fixture
def settings(folders: dict[str, Path]) -> dict[str, WorkerSettings]:
    """By the name of the model that is served: one that makes the film alone, one behind a picture model."""
    return {
        "modelscope": WorkerSettings(device="cpu", weights=folders["modelscope"], sizes="64x64"),
        "nano": WorkerSettings(
            device="cpu", weights=folders["nano"], picture_model=folders["sd3"], model_name="nano"
        ),
    }


def public_pipeline(loaded: Loaded) -> Any:
    """diffusers' own, of whichever stage has one."""
    renderer: Any = loaded.renderer
    return (renderer._painter or renderer._animator)._pipeline


@pytest.mark.parametrize(
    ("model", "layer", "number", "says"),
    [
        (
            "modelscope",
            lambda pipe: pipe.unet.conv_out,
            NAN,
            r"latents .* are not finite behind the last step",
        ),
        (
            "modelscope",
            lambda pipe: pipe.vae.decoder.conv_out,
            INFINITY,
            r"made pixels .* that are not finite",
        ),
        (
            "nano",
            lambda pipe: pipe.transformer.proj_out,
            NAN,
            r"latents .* are not finite behind the last step",
        ),
        ("nano", lambda pipe: pipe.vae.decoder.conv_out, INFINITY, r"made pixels .* that are not finite"),
    ],
    ids=["film-latents", "film-pixels", "picture-latents", "picture-pixels"],
)
def test_a_model_that_overflows_is_a_clear_failure_and_no_black_video(
    ward: Any,
    settings: dict[str, WorkerSettings],
    model: str,
    layer: Callable[[Any], Any],
    number: float,
    says: str,
) -> None:
    loaded = load(settings[model])
    with torch.no_grad():
        layer(public_pipeline(loaded)).bias.fill_(number)
    ward.load = lambda: loaded
    worker = ward.worker(lease_s=60.0)  # nobody beats here, and real networks take their time
    ward.submit(**WISHES[model])
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.failure.code) == (State.FAILED, FailureCode.NON_FINITE)
    assert re.search(says, job.failure.message)
    assert not job.failure.retryable
    assert ward.objects() == []


# -- slow and hung -------------------------------------------------------------------------------------------


class Ended(BaseException):
    """What the end of the process looks like from inside."""


@dataclass
class Slow:
    """A worker whose public pipeline takes its time: `takes` seconds by its clock for each module's call."""

    ward: Any
    settings: WorkerSettings
    preview_bytes: int = 16_384
    now: float = 0.0
    takes: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        loaded = load(self.settings)
        parts = self.ward.parts(
            lease_s=3600.0, attempt_limit_s=1e6, preview_bytes=self.preview_bytes, preview_every_s=0.1
        )
        parts = replace(parts, load=lambda: loaded, clock=lambda: self.now, end=self._end)
        self.worker = Worker(parts, plan_of(self.settings), loaded, Pulse(parts.clock))
        self.ward.workers.append(self.worker)
        pipeline = public_pipeline(loaded)
        for name in ("text_encoder", "transformer", "unet", "vae.decoder"):
            module = pipeline
            for part in name.split("."):
                module = getattr(module, part, None)
            if module is not None:
                module.register_forward_pre_hook(lambda *_, name=name: self._call(name))

    def _call(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        self.now += self.takes.get(name, 0.0)
        self.worker.watchdog._look()  # its thread would, at the latest just before the next sign

    def _end(self, code: int) -> None:
        self.ends.append(code)
        raise Ended


@pytest.mark.parametrize("preview_bytes", [0, 16_384])
@pytest.mark.parametrize("model", ["modelscope", "nano"])
def test_a_slow_pipeline_that_moves_is_never_taken_for_hung(
    ward: Any, settings: dict[str, WorkerSettings], model: str, preview_bytes: int
) -> None:
    """Prompts and first step, each further step, a look, and the decoding, each take most of the grace."""
    slow = Slow(ward, settings[model], preview_bytes)
    grace = slow.worker.grace_s
    encoders = 3 if model == "nano" else 2  # calls before the first step, counted below
    slow.takes = {"text_encoder": 0.3 * grace / encoders, "vae.decoder": 0.9 * grace / 8}
    slow.takes |= dict.fromkeys(("transformer", "unet"), 0.6 * grace)
    ward.submit(**WISHES[model])
    slow.worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert slow.ends == []
    network = "unet" if model == "modelscope" else "transformer"
    assert slow.calls["text_encoder"] <= encoders
    assert slow.calls[network] == (4 if model == "modelscope" else 28)
    pictures = slow.calls["vae.decoder"] - (8 if model == "modelscope" else 1)
    assert pictures > 0 if preview_bytes else pictures == 0
    assert slow.now > 3 * grace


@pytest.mark.parametrize(
    ("model", "where"),
    [
        ("modelscope", "text_encoder"),
        ("modelscope", "unet"),
        ("nano", "transformer"),
        ("nano", "vae.decoder"),
    ],
)
def test_a_pipeline_that_hangs_ends_the_worker_and_gives_the_job_back(
    ward: Any, settings: dict[str, WorkerSettings], model: str, where: str
) -> None:
    slow = Slow(ward, settings[model])
    slow.takes = {where: 1.1 * slow.worker.grace_s}
    ward.submit(**WISHES[model])
    with pytest.raises(Ended):
        slow.worker.engine.run_ticket()
    assert slow.ends == [EXIT_HUNG]
    job = ward.store.get("default", "video_a")
    assert (job.state, job.lost) == (State.QUEUED, 1)
