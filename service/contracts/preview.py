"""What a video looks like so far: a small picture for whoever watches, never a part of the job's record."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Shows(StrEnum):
    """keyframe: the finished picture that stage 2 animates. video: what its frames seem to become."""

    KEYFRAME = "keyframe"
    VIDEO = "video"


class Preview(BaseModel):
    """`picture` is a WebP in base64, of `frames` frames (they move, if several), `width` x `height` pixels.

    `step` of `steps` denoising steps of stage 2 are behind it; 0 of 0 for a keyframe.
    """

    model_config = ConfigDict(frozen=True)

    shows: Shows
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    frames: int = Field(ge=1)
    picture: str
