"""What content credentials cost a film: `python -m benchmarks.credentials`, seconds, no network."""

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from service.contracts.job import VideoJob
from service.contracts.lifecycle import State
from service.contracts.model_spec import Bounds, FrameBounds, ModelSpec
from service.contracts.request import VideoRequest
from worker.attempt import Attempt
from worker.film.encode import CONTENT_TYPE, encode_mp4
from worker.provenance.credentials import signer_of
from worker.provenance.ingredients import Ingredient
from worker.settings import WorkerSettings

TURNS = 50
SIZES = ((64, 64, 16), (448, 256, 16), (1024, 576, 25))


def main() -> None:
    """Prints encoding and signing in the middle of TURNS for each size, and the bytes that came to it."""
    spec = ModelSpec(
        name="microcinema-micro",
        weight_hash="0123456789abcdef",
        sizes=((64, 64),),
        frames=FrameBounds(min=1, max=64, default=16),
        fps=Bounds[int](min=1, max=30, default=8),
        steps=Bounds[int](min=1, max=50, default=25),
        guidance_scale=Bounds[float](min=1, max=15, default=5),
        gamma=Bounds[float](min=0, max=0.05, default=0.02),
        prompt_max_chars=500,
        max_picture_pixels=10_000,
        image_input=True,
        samplers=("ddim",),
        description="measured",
        license="Apache-2.0",
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = WorkerSettings(credentials_dir=Path(folder) / "credentials")
        for width, height, count in SIZES:
            _measure(settings, spec, width, height, count)


def _measure(settings: WorkerSettings, spec: ModelSpec, width: int, height: int, count: int) -> None:
    noise = np.random.default_rng(7)
    frames = [noise.integers(0, 256, (height, width, 3), np.uint8) // 8 * 8 for _ in range(count)]
    began = time.perf_counter()
    body = encode_mp4(iter(frames), fps=8, expected_frames=count).body
    encode_s = time.perf_counter() - began
    alone = signer_of(settings, spec, lambda _: ())
    first = alone(_attempt(spec, width, height, count, None), body)
    remix = signer_of(settings, spec, lambda _: [Ingredient("video_old.mp4", CONTENT_TYPE, first)])
    for name, sign, source in (("alone", alone, None), ("a remix", remix, "video_old")):
        attempt, seconds = _attempt(spec, width, height, count, source), []
        for _ in range(TURNS):
            began = time.perf_counter()
            signed = sign(attempt, body)
            seconds.append(time.perf_counter() - began)
        print(
            f"{width}x{height}, {count} frames, {name}: "
            f"{len(body):,} bytes, encoded in {encode_s * 1e3:.0f} ms; "
            f"signed in {median(seconds) * 1e3:.1f} ms, {len(signed) - len(body):+,} bytes"
        )


def _attempt(spec: ModelSpec, width: int, height: int, count: int, source: str | None) -> Attempt:
    request = VideoRequest(
        prompt="measured",
        model=spec.name,
        width=width,
        height=height,
        num_frames=count,
        fps=8,
        seed=7,
        num_inference_steps=25,
        guidance_scale=5,
        gamma=0.02,
        sampler="ddim",
        remixed_from=source,
    )
    job = VideoJob(
        id="video_a",
        tenant="default",
        request=request,
        state=State.RUNNING,
        pool="default",
        compat="measured",
        created_at=0,
    )
    return Attempt(job, 1, 0.0)


if __name__ == "__main__":
    main()
