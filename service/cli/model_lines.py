"""A served model in a few lines of plain text, for `microcinema models`."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.contracts.model_spec import Bounds, ModelSpec


def model_lines(model: Mapping[str, Any]) -> Iterator[str]:
    """One entry of `GET /models`: a headline, then indented what a request may ask."""
    spec, workers = ModelSpec.model_validate(model["spec"]), int(model["live_workers"])
    served = f"{workers} worker{'' if workers == 1 else 's'}" if workers else "no live worker, requests wait"
    yield f"{spec.name}  ({served}; {spec.license})"
    yield f"  {spec.description}"
    yield f"  sizes    {', '.join(f'{width}x{height}' for width, height in spec.sizes)}"
    grid = f", {spec.frames.offset} above a multiple of {spec.frames.multiple_of}"
    step = grid if spec.frames.multiple_of > 1 else ""
    yield f"  frames   {spec.frames.min} to {spec.frames.max}{step}, default {spec.frames.default}"
    yield f"  fps      {_bounds(spec.fps)}"
    yield f"  steps    {_bounds(spec.steps)}; guidance {_bounds(spec.guidance_scale)}"
    yield f"  picture  {_picture(spec)}"
    yield f"  gamma    {_bounds(spec.gamma) if spec.gamma.max else 'none'}"
    if spec.memory_bytes is not None:
        yield f"  memory   {spec.memory_bytes / 2**30:.1f} GiB of its device, counted"


def _bounds(bounds: Bounds[Any]) -> str:
    return f"{bounds.min:g} to {bounds.max:g}, default {bounds.default:g}"


def _picture(spec: ModelSpec) -> str:
    if spec.keyframe is None:
        return "none: the video comes from the text alone"
    if not spec.image_input:
        return f"none of your own: the {spec.keyframe} frame is painted from the text"
    need = "required" if spec.image_required else "optional, painted from the text without one"
    return f"{need}; it becomes the {spec.keyframe} frame"
