"""What a finished film is given along: how it came to be and, if it repeats another, what came of that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version

import numpy as np

from models.origin import Origin
from models.recipe import RECIPE
from service.contracts.artifact import Artifact
from service.contracts.job import OWN_PICTURE, VideoJob
from service.contracts.lifecycle import Stage
from service.contracts.receipt import KeyframeOrigin, KeyframeReceipt, Receipt, StageReceipt
from service.contracts.request import candidate_seed
from service.storage.artifact_store import ArtifactStore
from worker.attempt import Attempt
from worker.device.accelerator import Accelerator
from worker.orders import chosen_candidate, picture_order, video_order
from worker.provenance.comparison import compare
from worker.renderer import Renderer

_COMPUTES = ("microcinema", "torch", "diffusers")


class Receipts:
    """Writes the receipts of one model on one device."""

    def __init__(self, renderer: Renderer, accelerator: Accelerator, storage: ArtifactStore) -> None:
        self._renderer, self._accelerator, self._storage = renderer, accelerator, storage

    def with_receipt(
        self, attempt: Attempt, film: Artifact, body: bytes, go_on: Callable[[], None]
    ) -> Artifact:
        """`film`, whose MP4 is `body`, with its receipt; of a reproduction with its verdict, too."""
        receipt, original = self._receipt(attempt, film), attempt.request.reproduces
        verdict = None if original is None else compare(original, receipt, body, self._storage, go_on)
        return film.model_copy(update={"receipt": receipt, "reproduction": verdict})

    def _receipt(self, attempt: Attempt, film: Artifact) -> Receipt:
        order = video_order(attempt.request)
        return Receipt(
            model=self._renderer.spec.name,
            weight_hash=self._renderer.weight_hash,
            prompt=order.prompt,
            negative_prompt=order.negative_prompt,
            seed=order.seed,
            gamma=order.gamma,
            width=film.width,
            height=film.height,
            frames=film.frames or order.num_frames,
            fps=attempt.request.fps,
            stages=self._stages(attempt),
            keyframe=keyframe_receipt(attempt),
            device=self._accelerator.kind,
            device_class=self._device_class,
            batch=attempt.batch,
            resumed_after=attempt.resumed_after,
            versions=self._versions,
            frame_digest=film.frame_digest or "",
        )

    def _stages(self, attempt: Attempt) -> dict[str, StageReceipt]:
        painter, animator = self._renderer.origins
        stages = {}
        if painter is not None and _keyframe_origin(attempt.job) is KeyframeOrigin.PAINTED:
            picture = picture_order(attempt.request, self._renderer.spec)
            stages[Stage.TEXT_TO_IMAGE.value] = _stage(painter, picture.steps, picture.guidance_scale)
        order = video_order(attempt.request)
        last = Stage.TEXT_TO_VIDEO if attempt.keyframe is None else Stage.IMAGE_TO_VIDEO
        stages[last.value] = _stage(animator, order.steps, order.guidance_scale, order.sampler)
        return stages

    @cached_property
    def _device_class(self) -> str:
        return self._accelerator.device_class

    @cached_property
    def _versions(self) -> dict[str, str]:
        return {name: version(name) for name in _COMPUTES} | {"recipe": RECIPE}


def keyframe_receipt(attempt: Attempt) -> KeyframeReceipt | None:
    """Of the picture that the attempt animates; None for a model that takes none."""
    if attempt.keyframe is None:
        return None
    job, request, origin = attempt.job, attempt.request, _keyframe_origin(attempt.job)
    seed = taken_from = None
    if origin is KeyframeOrigin.PAINTED:
        seed = candidate_seed(request, chosen_candidate(job))
    elif origin is KeyframeOrigin.REMIX and request.input_picture is not None:
        taken_from = request.input_picture.taken_from
    elif origin is KeyframeOrigin.EXTEND and request.extends is not None:
        taken_from = request.extends.video_id
    digest = hashlib.sha256(np.ascontiguousarray(attempt.keyframe).tobytes()).hexdigest()
    return KeyframeReceipt(origin=origin, pixels_sha256=digest, seed=seed, taken_from=taken_from)


def _keyframe_origin(job: VideoJob) -> KeyframeOrigin:
    """Where the keyframe comes from, of a job that has one."""
    own = job.request.input_picture
    if own is not None:
        return KeyframeOrigin.UPLOAD if own.taken_from is None else KeyframeOrigin.REMIX
    if job.request.extends is not None:
        return KeyframeOrigin.EXTEND
    if job.chosen is not None and job.chosen.startswith(OWN_PICTURE):
        return KeyframeOrigin.UPLOAD
    return KeyframeOrigin.PAINTED


def _stage(origin: Origin, steps: int, guidance_scale: float, sampler: str | None = None) -> StageReceipt:
    return StageReceipt(
        weight_hash=origin.weight_hash,
        dtype=origin.dtype,
        steps=steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
    )
