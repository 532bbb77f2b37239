"""Public video pipelines that can stand in for MicroCinema's stage 2, or for both stages: one table.

The name in the first column is `_class_name` in a folder's model_index.json. Sizes, frames, rates and
defaults are those that the pipelines of diffusers and the released models document; `size_multiple` and the
frame rule are what the networks' strides demand. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.abilities import Abilities, KeyframePlace
from models.spec import FrameRule, Vocabulary

Sizes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class VideoFamily:
    """One row. `guidance_name` and `fps_name` are the pipeline's own words for these arguments.

    fps_name None: the pipeline is not told the frame rate. reads_text: it takes a prompt and a negative one;
    Stable Video Diffusion animates the picture alone. encodes_text: we read the text for it, see the adapter.
    layout_of_sd: latents (B, C, F, h, w) of Stable
    Diffusion's autoencoder, where the Appearance Noise Prior means what it means in MicroCinema.
    device_noise: the pipeline draws on the device with the generator that it is given (LTX 0.9.1 and later,
    when decoding), so a CPU generator cannot serve. decode_chunk: frames that go through the autoencoder at
    once, where the pipeline would take all of them. slices: the pipeline hands all frames to the autoencoder
    at once, which is told to take them one by one. float32_parts: components that must keep full precision.
    """

    title: str
    license: str
    keyframe: KeyframePlace | None
    sizes: Sizes
    size_multiple: int
    frames: FrameRule
    fps: int
    steps: int
    guidance: float
    reads_text: bool = True
    guidance_name: str = "guidance_scale"
    fps_name: str | None = None
    encodes_text: bool = False
    layout_of_sd: bool = False
    device_noise: bool = False
    decode_chunk: int | None = None
    slices: bool = False
    float32_parts: tuple[str, ...] = ()

    def abilities(self, prediction_type: str) -> Abilities:
        """Of a folder whose scheduler says `prediction_type`; alone, without a picture model beside it."""
        return Abilities(
            keyframe=self.keyframe,
            paints=self.keyframe is None,
            negative_prompt=self.reads_text,
            noise_prior=self.keyframe is not None and self.layout_of_sd and prediction_type == "epsilon",
        )


# CogVideoX's and LTX's autoencoders fold 4 (in pairs) and 8 frames after the first into one, Wan's 4.
_COGVIDEOX_FRAMES = FrameRule(minimum=9, maximum=49, default=49, step=8)

VIDEO_FAMILIES: Mapping[str, VideoFamily] = MappingProxyType(
    {
        "I2VGenXLPipeline": VideoFamily(
            title="I2VGen-XL",
            license="MIT",
            keyframe=KeyframePlace.FIRST,
            sizes=((1280, 704),),
            size_multiple=8,
            frames=FrameRule(minimum=8, maximum=32, default=16),
            fps=16,
            steps=50,
            guidance=9.0,
            fps_name="target_fps",
            encodes_text=True,
            layout_of_sd=True,
        ),
        "StableVideoDiffusionPipeline": VideoFamily(
            title="Stable Video Diffusion",
            license="Stability AI Community License",
            keyframe=KeyframePlace.FIRST,
            sizes=((1024, 576), (576, 1024)),
            size_multiple=64,
            frames=FrameRule(minimum=8, maximum=25, default=25),
            fps=7,
            steps=25,
            guidance=3.0,
            reads_text=False,
            guidance_name="max_guidance_scale",
            fps_name="fps",
            decode_chunk=8,
        ),
        "CogVideoXImageToVideoPipeline": VideoFamily(
            title="CogVideoX image-to-video",
            license="CogVideoX License",
            keyframe=KeyframePlace.FIRST,
            sizes=((720, 480),),
            size_multiple=16,
            frames=_COGVIDEOX_FRAMES,
            fps=8,
            steps=50,
            guidance=6.0,
        ),
        "LTXImageToVideoPipeline": VideoFamily(
            title="LTX-Video image-to-video",
            license="LTX-Video Open Weights License",
            keyframe=KeyframePlace.FIRST,
            sizes=((704, 480), (768, 512), (512, 768)),
            size_multiple=32,
            frames=FrameRule(minimum=9, maximum=257, default=97, step=8),
            fps=25,
            steps=50,
            guidance=3.0,
            fps_name="frame_rate",
            device_noise=True,
        ),
        "WanImageToVideoPipeline": VideoFamily(
            title="Wan image-to-video",
            license="Apache-2.0",
            keyframe=KeyframePlace.FIRST,
            sizes=((832, 480), (480, 832), (1280, 720), (720, 1280)),
            size_multiple=16,
            frames=FrameRule(minimum=5, maximum=81, default=81, step=4),
            fps=16,
            steps=50,
            guidance=5.0,
            float32_parts=("vae",),
        ),
        "TextToVideoSDPipeline": VideoFamily(
            title="ModelScope text-to-video",
            license="CC-BY-NC-4.0",
            keyframe=None,
            sizes=((256, 256), (576, 320)),
            size_multiple=8,
            frames=FrameRule(minimum=8, maximum=32, default=16),
            fps=8,
            steps=50,
            guidance=9.0,
            layout_of_sd=True,
            slices=True,
        ),
        "CogVideoXPipeline": VideoFamily(
            title="CogVideoX text-to-video",
            license="CogVideoX License",
            keyframe=None,
            sizes=((720, 480),),
            size_multiple=16,
            frames=_COGVIDEOX_FRAMES,
            fps=8,
            steps=50,
            guidance=6.0,
        ),
    }
)


@dataclass(frozen=True)
class RenderSpec:
    """Everything about a served model that is not a weight, for models that are not ours.

    The fields that it shares with CinemaSpec mean the same.
    """

    name: str
    sizes: Sizes
    frames: FrameRule
    fps: int
    video_steps: int
    video_guidance: float
    abilities: Abilities
    picture_steps: int = 0  # no stage 1
    picture_guidance: float = 0.0
    noise_prior_gamma: float = 0.0  # these models were trained without the prior
    description: str = ""
    license: str = ""
    vocabulary: Vocabulary | None = None  # nobody knows all the captions of these models


def render_spec(
    family: VideoFamily, name: str, prediction_type: str = "", sizes: Sizes | None = None
) -> RenderSpec:
    """The spec of a folder of `family`; `sizes` (width, height) in place of the family's own.

    Raises ValueError for a size that is no multiple of the family's.
    """
    for width, height in sizes or ():
        if width % family.size_multiple or height % family.size_multiple:
            raise ValueError(
                f"size {width}x{height}: both sides must be multiples of {family.size_multiple} "
                f"for {family.title}"
            )
    place = (
        "the text alone" if family.keyframe is None else f"a picture, which is its {family.keyframe} frame"
    )
    return RenderSpec(
        name=name,
        sizes=sizes or family.sizes,
        frames=family.frames,
        fps=family.fps,
        video_steps=family.steps,
        video_guidance=family.guidance,
        abilities=family.abilities(prediction_type),
        description=f"{family.title} through diffusers: makes a video from {place}.",
        license=family.license,
    )
