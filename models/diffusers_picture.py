"""Stage 1 by any text-to-image folder that diffusers' AutoPipeline knows: SD 1.x, 2.x, XL, 3, PixArt, ..."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from models.errors import BadWeights, NonFinitePixels, PictureWithheld
from models.finite import check_finite, guard_decoders
from models.orders import PictureOrder, Progress
from models.origin import Origin, format_name
from models.pipeline_folder import load_pipeline, pipeline_class, weight_hash
from models.residency import Residency
from models.seeds import PICTURE_STREAM, seeded_generator
from models.stepwise import in_turn, pipeline_steps
from models.thrift import Thrift
from models.vae import Picture

# Every family's strides divide 64: 8 of the autoencoder times 8 of the deepest UNet.
SIDE_MULTIPLE = 64


class DiffusersPicture:
    """A text-to-image pipeline as a stage: yields each step, and stops within one when it is closed.

    `steps` and `guidance_scale` are the pipeline's own defaults: what its authors recommend.
    """

    def __init__(self, pipeline: Any, weight_hash: str) -> None:
        self._pipeline = pipeline
        guard_decoders(pipeline)
        self._residency = Residency(pipeline.device, pipeline)
        self.weight_hash = weight_hash
        takes = inspect.signature(pipeline.__call__).parameters
        self._takes: Mapping[str, inspect.Parameter] = takes
        self.steps = int(takes["num_inference_steps"].default)
        self.guidance_scale = float(takes["guidance_scale"].default)
        self.negative_prompt = reads_negative_prompt(type(pipeline))

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> DiffusersPicture:
        """Raises BadWeights, naming what is wrong with the folder."""
        pipeline_class(folder)  # for its errors: AutoPipeline's own say less
        pipeline = load_pipeline(AutoPipelineForText2Image.from_pretrained, folder, device)
        try:
            check_drivable(type(pipeline))
        except BadWeights as error:
            raise BadWeights(f"{folder}: {error}") from error
        return cls(pipeline, weight_hash(folder))

    @property
    def origin(self) -> Origin:
        """Its weights, and the number format of the network that denoises."""
        network = getattr(self._pipeline, "transformer", None) or getattr(self._pipeline, "unet", None)
        return Origin(self.weight_hash, format_name((network or self._pipeline).dtype))

    def economise(self, thrift: Thrift) -> None:
        """With `park_idle` the whole pipeline waits in host memory while stage 2 is at work."""
        self._residency.park_idle = thrift.park_idle
        if thrift.park_idle:
            self._residency.only()  # at once: stage 2 may be the one that asks

    def paint(self, orders: Sequence[PictureOrder]) -> Generator[Progress, None, list[Picture]]:
        """One picture per order, one after the other; yields after every step of each.

        Raises NonFinite, and PictureWithheld if the folder's own safety checker blacked one out.
        """
        steps = orders[0].steps
        works = [
            partial(
                pipeline_steps,
                self._pipeline,
                partial(self._paint_one, order),
                steps,
                *self._native_size(order.width, order.height),
            )
            for order in orders
        ]
        self._residency.only(self._pipeline)
        try:
            return (yield from in_turn(works, steps))
        finally:
            self._residency.only()

    def _paint_one(self, order: PictureOrder) -> Picture:
        width, height = self._native_size(order.width, order.height)
        given: dict[str, Any] = {
            "prompt": order.prompt,
            "width": width,
            "height": height,
            "num_inference_steps": order.steps,
            "guidance_scale": order.guidance_scale,
            "generator": seeded_generator(order.seed, PICTURE_STREAM),
            "output_type": "pt",
        }
        if self.negative_prompt:
            given["negative_prompt"] = order.negative_prompt
        if "use_resolution_binning" in self._takes:
            given["use_resolution_binning"] = False  # it would move the size to one of its own list
        made = self._pipeline(**given)
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise PictureWithheld("the picture model's safety checker withheld the picture for this prompt")
        x = made.images[0]
        check_finite(x, NonFinitePixels, f"the picture at {width}x{height} is not finite")
        levels = (x.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        if (width, height) == (order.width, order.height):
            picture: Picture = levels
            return picture
        # The native size is at least as large, with the same shape to within a multiple: this only shrinks.
        small = Image.fromarray(levels).resize((order.width, order.height), Image.Resampling.LANCZOS)
        return np.asarray(small)

    def _native_size(self, width: int, height: int) -> tuple[int, int]:
        """The size to paint at for a picture of width x height.

        A model far below the size it was trained at paints badly (SDXL below 1024 is the known case), so a
        smaller picture is painted at about the model's own area in the same shape, and shrunk.
        """
        side = self._native_side()
        if side is None or width * height >= side * side:
            return width, height
        scale = side / sqrt(width * height)
        return _up(width * scale), _up(height * scale)

    def _native_side(self) -> int | None:
        pipeline = self._pipeline
        network: Any = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
        config: Any = getattr(network, "config", None)
        cells = getattr(pipeline, "default_sample_size", None) or getattr(config, "sample_size", None)
        factor = getattr(pipeline, "vae_scale_factor", None)
        return cells * factor if isinstance(cells, int) and isinstance(factor, int) else None


def _up(side: float) -> int:
    """The next multiple of SIDE_MULTIPLE, or of 8 for the toy sizes below it."""
    step = SIDE_MULTIPLE if side >= SIDE_MULTIPLE else 8
    return -(-round(side) // step) * step


def reads_negative_prompt(pipeline: type[Any]) -> bool:
    """Whether a negative prompt changes the picture.

    Flux and its kin take one, and read it only under a second guidance (`true_cfg_scale`) that is off.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    return "negative_prompt" in takes and "true_cfg_scale" not in takes


def check_drivable(pipeline: type[Any]) -> None:
    """Whether a pipeline class can be run step by step from a prompt and a seed. Raises BadWeights."""
    name, takes = pipeline.__name__, inspect.signature(pipeline.__call__).parameters
    if name.endswith("CombinedPipeline"):
        raise BadWeights(f"{name} hides its steps inside other pipelines and cannot be stopped")
    for argument in ("prompt", "width", "height", "generator", "output_type"):
        if argument not in takes:
            raise BadWeights(f"{name} takes no {argument}: it is no text-to-image model")
    for argument in ("num_inference_steps", "guidance_scale"):
        if argument not in takes or takes[argument].default is None:
            raise BadWeights(f"{name} has no single {argument} and cannot be driven step by step")
