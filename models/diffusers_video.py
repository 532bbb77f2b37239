"""Stage 2, or both stages, by a public video pipeline: one adapter for all rows of VIDEO_FAMILIES."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image
from torch import Tensor

from models.errors import BadWeights, NonFinitePixels
from models.finite import check_finite, guard_decoders
from models.noise_prior import with_appearance
from models.orders import Progress, VideoOrder
from models.origin import Origin, format_name
from models.pipeline_folder import load_pipeline, pipeline_class, scheduler_config, weight_hash
from models.seeds import STRAY_STREAM, VIDEO_STREAM, seeded_generator, seeded_noise, stream_seed
from models.stepwise import in_turn, pipeline_steps
from models.thrift import Thrift
from models.vae import Picture, PictureCodec, levels
from models.video_families import VIDEO_FAMILIES, RenderSpec, Sizes, VideoFamily, render_spec


def video_family(folder: Path) -> VideoFamily:
    """The row of the table that the folder belongs to. Raises BadWeights with the list of known ones."""
    name = pipeline_class(folder)
    if name not in VIDEO_FAMILIES:
        known = ", ".join(VIDEO_FAMILIES)
        raise BadWeights(f"{folder}: {name} is not a video model known here; known are {known}")
    return VIDEO_FAMILIES[name]


class DiffusersVideo:
    """A video pipeline as a stage. Orders of one call run one after the other: each is a call of its own."""

    def __init__(self, pipeline: Any, family: VideoFamily, spec: RenderSpec, weight_hash: str) -> None:
        self._pipeline, self._family = pipeline, family
        guard_decoders(pipeline)
        self._decode_chunk = family.decode_chunk
        self.spec, self.weight_hash = spec, weight_hash

    @classmethod
    def load(
        cls, folder: Path, device: torch.device, *, name: str, sizes: Sizes | None = None
    ) -> DiffusersVideo:
        """Serve `folder` under `name`, at the family's sizes or at `sizes` (width, height).

        Raises BadWeights for the folder, ValueError for a size.
        """
        family = video_family(folder)
        spec = render_spec(family, name, str(scheduler_config(folder).get("prediction_type", "")), sizes)
        from_pretrained = getattr(diffusers, pipeline_class(folder)).from_pretrained
        pipeline = load_pipeline(from_pretrained, folder, device, family.float32_parts)
        if family.slices:
            pipeline.vae.enable_slicing()
        return cls(pipeline, family, spec, weight_hash(folder))

    @property
    def origin(self) -> Origin:
        """Its weights, and the number format of the network that denoises."""
        network = getattr(self._pipeline, "transformer", None) or self._pipeline.unet
        return Origin(self.weight_hash, format_name(network.dtype))

    @property
    def sampler(self) -> str:
        """The scheduler that the folder names, in the word that clients see: DDIM, EulerDiscrete, ..."""
        return type(self._pipeline.scheduler).__name__.removesuffix("Scheduler")

    def economise(self, thrift: Thrift) -> None:
        """Decodes frame by frame on the ladder's last rung only: some decoders look across their chunk."""
        if self._family.decode_chunk is not None:
            self._decode_chunk = 1 if thrift.park_idle else self._family.decode_chunk

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Generator[Progress, None, list[Tensor]]:
        """Frames uint8 (F, H, W, 3) per order; yields after every step of each. Raises NonFinite.

        `keyframes` uint8 (H, W, 3), one per order; none for a family without a keyframe.
        """
        pictures: Sequence[Picture | None] = keyframes or [None] * len(orders)
        steps = orders[0].steps
        works = [
            partial(
                pipeline_steps,
                self._pipeline,
                partial(self._render, order, picture),
                steps,
                order.width,
                order.height,
            )
            for order, picture in zip(orders, pictures, strict=True)
        ]
        return (yield from in_turn(works, steps))

    def decode(self, frames: Tensor) -> Iterator[Picture]:
        """Frames (F, H, W, 3) one by one: the pipeline decoded them when its last step was done."""
        for frame in frames:
            yield frame.numpy()

    def _render(self, order: VideoOrder, keyframe: Picture | None) -> Tensor:
        # Some pipelines draw a part of their numbers without the generator that they are given (I2VGen-XL
        # samples the keyframe's latents so): the default one must start from the seed as well, and from other
        # numbers than those that the picture began with.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(order.seed, STRAY_STREAM))
            x = self._pipeline(**self._arguments(order, keyframe)).frames[0]
        shape = f"{order.num_frames} frames at {order.width}x{order.height}"
        check_finite(x, NonFinitePixels, f"the {shape} are not finite after {order.steps} steps")
        return levels(x).cpu()

    def _arguments(self, order: VideoOrder, keyframe: Picture | None) -> dict[str, Any]:
        family, device = self._family, self._pipeline._execution_device
        given: dict[str, Any] = {
            "width": order.width,
            "height": order.height,
            "num_frames": order.num_frames,
            "num_inference_steps": order.steps,
            family.guidance_name: order.guidance_scale,
            "generator": seeded_generator(order.seed, VIDEO_STREAM, device if family.device_noise else "cpu"),
            "output_type": "pt",
        }
        if keyframe is not None:
            given["image"] = Image.fromarray(keyframe)
        if family.fps_name is not None:
            given[family.fps_name] = order.fps or family.fps
        if self._decode_chunk is not None:
            given["decode_chunk_size"] = self._decode_chunk
        if family.encodes_text:
            given |= _text_embeddings(self._pipeline, order)
        elif family.reads_text:
            given |= {"prompt": order.prompt, "negative_prompt": order.negative_prompt}
        if self.spec.abilities.noise_prior and keyframe is not None:
            given["latents"] = self._starting_latents(order, keyframe)
        return given

    def _starting_latents(self, order: VideoOrder, keyframe: Picture) -> Tensor:
        """eps_n + gamma z^c in the pipeline's order (1, C, F, h, w), before its init_noise_sigma."""
        network = self._pipeline.unet
        z_c = PictureCodec(self._pipeline.vae).encode([keyframe])
        noise = seeded_noise([order.seed], (order.num_frames, *z_c.shape[1:]), VIDEO_STREAM).to(z_c.device)
        return with_appearance(noise, z_c, order.gamma).transpose(1, 2).to(network.dtype)


@torch.inference_mode()
def _text_embeddings(pipeline: Any, order: VideoOrder) -> dict[str, Tensor]:
    """(1, L, D) of prompt and negative prompt: CLIP's last hidden layer but one, through the final norm.

    That is what I2VGen-XL reads (its `clip_skip` 1). The pipeline's own way there asks for a submodule that
    CLIPTextModel no longer has since transformers 5.
    """
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    norm = getattr(encoder, "text_model", encoder).final_layer_norm

    def embed(text: str) -> Tensor:
        tokens = tokenizer(
            [text],
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        hidden = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True).hidden_states
        embedding: Tensor = norm(hidden[-2])
        return embedding

    return {"prompt_embeds": embed(order.prompt), "negative_prompt_embeds": embed(order.negative_prompt)}
