"""The public bounds of one served model: what a client may ask of it."""

from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.contracts.ids import NAME_PATTERN
from service.contracts.lifecycle import Stage

Number = TypeVar("Number", int, float)


class Bounds(BaseModel, Generic[Number]):
    """An allowed range, both ends included, and the value taken when the client names none."""

    model_config = ConfigDict(frozen=True)

    min: Number
    max: Number
    default: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.default <= self.max:
            raise ValueError(f"default {self.default} must lie between min {self.min} and max {self.max}")
        return self

    def allows(self, value: Number) -> bool:
        """Whether `value` lies within the range."""
        return self.min <= value <= self.max


class FrameBounds(Bounds[int]):
    """Allowed frame counts: min..max, and `offset` above a multiple of `multiple_of` (such as 4n + 1)."""

    multiple_of: int = Field(default=1, ge=1)
    offset: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _default_on_grid(self) -> Self:
        if not self.allows(self.default):
            raise ValueError(
                f"default {self.default} is not {self.offset} + a multiple of {self.multiple_of}"
            )
        return self

    def allows(self, value: int) -> bool:
        """Whether a video may have `value` frames."""
        return super().allows(value) and (value - self.offset) % self.multiple_of == 0

    def in_words(self) -> str:
        """Such as "9 to 257 frames and 1 above a multiple of 8"."""
        text = f"{self.min} to {self.max} frames"
        if self.multiple_of == 1:
            return text
        above = f"{self.offset} above " if self.offset else ""
        return f"{text} and {above}a multiple of {self.multiple_of}"


Word = Annotated[str, Field(min_length=1, max_length=40)]


class Vocabulary(BaseModel):
    """The words of all captions that a model was trained on, in lower case.

    `telling` words choose something in the video (red, circle, left); `filler` words stand around them
    (a, on, moving).
    """

    model_config = ConfigDict(frozen=True)

    telling: tuple[Word, ...] = Field(min_length=1, max_length=500)
    filler: tuple[Word, ...] = Field(max_length=500)


class ModelSpec(BaseModel):
    """A named model as clients see it: sizes in pixels (width, height), the default size first.

    `keyframe` is the frame of the video that the picture becomes (the client's own or stage 1's); None: the
    video comes from the text alone, and then there is no `image_input` either. `image_required`: the model
    makes no pictures, each request brings one. `gamma` from 0 to 0: no Appearance Noise Prior here.

    `weight_hash` names the exact weights: jobs of different weights never share a batch.
    `memory_bytes` is what its worker wants of a device, counted: weights, the largest request, a reserve.
    `max_picture_pixels` bounds an uploaded picture before it is decoded. Where `vocabulary` is None, nobody
    knows all captions of the model's training, and its jobs get no warnings about words.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=NAME_PATTERN)
    pool: str = Field(default="default", pattern=NAME_PATTERN)
    weight_hash: str = Field(min_length=8, max_length=64)
    sizes: tuple[tuple[int, int], ...] = Field(min_length=1)
    frames: FrameBounds
    fps: Bounds[int]
    steps: Bounds[int]
    guidance_scale: Bounds[float]
    gamma: Bounds[float]
    prompt_max_chars: int = Field(ge=1)
    max_picture_pixels: int = Field(ge=1)
    image_input: bool
    image_required: bool = False
    negative_prompt: bool = True
    keyframe: Literal["first", "centre"] | None = "centre"
    samplers: tuple[str, ...] = Field(min_length=1)
    description: str
    license: str
    memory_bytes: int | None = Field(default=None, ge=0)
    vocabulary: Vocabulary | None = None

    @model_validator(mode="after")
    def _pictures_need_a_place(self) -> Self:
        if self.keyframe is None and (self.image_input or self.image_required):
            raise ValueError("keyframe None: there is no place in the video for a picture")
        if self.image_required and not self.image_input:
            raise ValueError("image_required without image_input: no request could be served")
        return self

    def first_stage(self, *, own_picture: bool) -> Stage:
        """Where a job begins; `own_picture`: the client sent the keyframe."""
        if self.keyframe is None:
            return Stage.TEXT_TO_VIDEO
        return Stage.IMAGE_TO_VIDEO if own_picture else Stage.TEXT_TO_IMAGE

    @property
    def default_size(self) -> tuple[int, int]:
        """(width, height) taken when the client names no size."""
        return self.sizes[0]
