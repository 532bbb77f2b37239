"""A client's request in the words of the two model stages."""

from __future__ import annotations

from models.orders import PictureOrder, VideoOrder
from models.spec import CinemaSpec
from models.video_families import RenderSpec
from service.contracts.job import VideoJob
from service.contracts.request import VideoRequest, candidate_seed


def chosen_candidate(job: VideoJob) -> int:
    """Which painted keyframe a job is animated from, counted as candidates of a gate are: without one the
    first, and for a reproduction that of the original."""
    original = job.request.reproduces
    return int(job.chosen or 0) if original is None else original.candidate


def picture_order(request: VideoRequest, spec: CinemaSpec | RenderSpec, candidate: int = 0) -> PictureOrder:
    """Stage 1's order. Steps and guidance are the model's own: the request's numbers steer stage 2."""
    return PictureOrder(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=candidate_seed(request, candidate),
        steps=spec.picture_steps,
        guidance_scale=spec.picture_guidance,
        width=request.width,
        height=request.height,
    )


def video_order(request: VideoRequest) -> VideoOrder:
    """Stage 2's order."""
    return VideoOrder(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        gamma=request.gamma,
        num_frames=request.num_frames,
        width=request.width,
        height=request.height,
        sampler=request.sampler,
        fps=request.fps,
    )
