"""Which jobs may share a batch."""

from service.contracts.lifecycle import Stage
from service.contracts.model_spec import ModelSpec
from service.contracts.request import VideoRequest


def compat_key(
    request: VideoRequest,
    spec: ModelSpec,
    first_stage: Stage = Stage.TEXT_TO_IMAGE,
    first_step: int = 0,
) -> str:
    """Jobs with equal keys run the same tensor shapes through the same weights for the same steps.

    Parts: model, weights, size, frames, first stage and step, sampler, steps, and whether classifier-free
    guidance runs (a scale above 1 doubles the batch; the scale itself, the prompts, the seed and gamma
    differ per sample and are left out); jobs that stop at a gate also go by how many keyframes they show.
    The caller names the first stage: ModelSpec.first_stage.
    """
    guidance = "cfg" if request.guidance_scale > 1 else "plain"
    gate = f"+{request.gate.candidates}" if request.gate else ""
    return ":".join(
        (
            request.model,
            spec.weight_hash[:16],
            f"{request.width}x{request.height}",
            f"{request.num_frames}f",
            f"{first_stage}@{first_step}{gate}",
            request.sampler,
            f"{request.num_inference_steps}s",
            guidance,
        )
    )
