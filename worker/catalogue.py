"""From a model's architecture to the public bounds that clients see, and back:

does a request lie within them?
"""

from __future__ import annotations

from collections.abc import Sequence

from models.spec import CinemaSpec
from models.video_families import RenderSpec
from service.contracts.model_spec import Bounds, FrameBounds, ModelSpec, Vocabulary
from service.contracts.request import VideoRequest

FPS_MAX = 30
STEPS_MIN, STEPS_MAX = 4, 50
GUIDANCE_MIN, GUIDANCE_MAX = 1.0, 15.0
# MicroCinema's ablation of the prior ends here, and its FVD is already worse than with no prior at all.
GAMMA_MAX = 0.05
PROMPT_MAX_CHARS = 1000
# A 16-megapixel photograph; it is scaled down to the model's size anyway.
MAX_PICTURE_PIXELS = 16_000_000


def public_spec(
    spec: CinemaSpec | RenderSpec,
    *,
    weight_hash: str,
    pool: str,
    samplers: Sequence[str],
    memory_bytes: int | None = None,
) -> ModelSpec:
    """What clients may ask of this model. `samplers`: the names that the model knows, the default first.

    `memory_bytes`: what the plan wants of the device.
    """
    rule, words, able = spec.frames, spec.vocabulary, spec.abilities
    gamma_max = GAMMA_MAX if able.noise_prior else 0.0
    return ModelSpec(
        name=spec.name,
        pool=pool,
        weight_hash=weight_hash,
        sizes=spec.sizes,
        frames=FrameBounds(
            min=rule.minimum,
            max=rule.maximum,
            default=rule.default,
            multiple_of=rule.step,
            offset=rule.minimum % rule.step,
        ),
        fps=Bounds[int](min=1, max=FPS_MAX, default=spec.fps),
        steps=Bounds[int](min=min(STEPS_MIN, spec.video_steps), max=STEPS_MAX, default=spec.video_steps),
        guidance_scale=Bounds[float](min=GUIDANCE_MIN, max=GUIDANCE_MAX, default=spec.video_guidance),
        gamma=Bounds[float](min=0.0, max=gamma_max, default=spec.noise_prior_gamma),
        prompt_max_chars=PROMPT_MAX_CHARS,
        max_picture_pixels=MAX_PICTURE_PIXELS,
        image_input=able.keyframe is not None,
        image_required=not able.paints,
        negative_prompt=able.negative_prompt,
        keyframe=able.keyframe and able.keyframe.value,
        samplers=tuple(samplers),
        description=spec.description,
        license=spec.license,
        memory_bytes=memory_bytes,
        vocabulary=words and Vocabulary(telling=words.telling, filler=words.filler),
    )


def misfit(request: VideoRequest, spec: ModelSpec) -> str | None:
    """A sentence naming the first field of `request` that `spec` cannot serve, or None if all fit.

    Intake checked against the catalogue; this looks again because the model may have changed since, and a
    request that the networks cannot take must become a clear failure, not a shape error deep inside them.
    """
    size = (request.width, request.height)
    if size not in spec.sizes:
        known = ", ".join(f"{width}x{height}" for width, height in spec.sizes)
        return f"size {size[0]}x{size[1]} is not one of {known}"
    if not spec.frames.allows(request.num_frames):
        return f"num_frames {request.num_frames} is not {spec.frames.in_words()}"
    if not spec.steps.allows(request.num_inference_steps):
        bounds = f"{spec.steps.min}..{spec.steps.max}"
        return f"num_inference_steps {request.num_inference_steps} is outside {bounds}"
    if not spec.fps.allows(request.fps):
        return f"fps {request.fps} is outside {spec.fps.min}..{spec.fps.max}"
    if request.sampler not in spec.samplers:
        return f"sampler {request.sampler!r} is not one of {', '.join(spec.samplers)}"
    if not spec.gamma.allows(request.gamma):
        return f"gamma {request.gamma} is outside {spec.gamma.min}..{spec.gamma.max}"
    picture = request.input_picture
    if request.extends is not None:
        return None if spec.keyframe == "first" else f"{spec.name} cannot begin where another video ends"
    if picture is None and spec.image_required:
        return f"input_reference is missing: {spec.name} animates pictures and makes none"
    if picture is not None and not spec.image_input:
        return f"input_reference must be left out: {spec.name} takes none"
    if picture is not None and (picture.width, picture.height) != size:
        return f"the input picture is {picture.width}x{picture.height}, the video {size[0]}x{size[1]}"
    return None
