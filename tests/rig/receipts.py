"""Receipts as a worker would write them, for tests without one."""

from service.contracts.receipt import (
    KeyframeOrigin,
    KeyframeReceipt,
    Receipt,
    Reproduction,
    StageReceipt,
    Verdict,
)
from service.contracts.request import Original, VideoRequest

WEIGHTS = "0123456789abcdef"


def receipt_of(request: VideoRequest, **changes: object) -> Receipt:
    """Of a video of `request` whose frames have the digest ffff..."""
    stage = StageReceipt(
        weight_hash=WEIGHTS,
        dtype="float32",
        steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        sampler=request.sampler,
    )
    keyframe = KeyframeReceipt(origin=KeyframeOrigin.PAINTED, pixels_sha256="e" * 64, seed=request.seed)
    return Receipt(
        model=request.model,
        weight_hash=WEIGHTS,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        gamma=request.gamma,
        width=request.width,
        height=request.height,
        frames=request.film_frames,
        fps=request.fps,
        stages={"image_to_video": stage},
        keyframe=keyframe,
        device="cpu",
        device_class="cpu FAKE",
        batch=1,
        versions={"torch": "2"},
        frame_digest="f" * 64,
    ).model_copy(update=changes)


def verdict_of(original: Original, receipt: Receipt) -> Reproduction:
    """By the digests alone."""
    if original.receipt.frame_digest == receipt.frame_digest:
        return Reproduction(verdict=Verdict.EQUAL)
    return Reproduction(verdict=Verdict.DIFFERENT, psnr_db=40.5, changed=("batch",))
