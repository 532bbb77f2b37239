"""What a video looks like so far: a small picture for whoever watches, never a part of the job's record."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Shows(StrEnum):
    """picture: what the keyframe seems to become. keyframe: it is finished, and stage 2 animates it.
    video: what its frames seem to become.
    """

    PICTURE = "picture"
    KEYFRAME = "keyframe"
    VIDEO = "video"


class Preview(BaseModel):
    """`picture` is a WebP in base64, of `frames` frames (they move, if several), `width` x `height` pixels.

    `step` of `steps` denoising steps of its stage are behind it; 0 of 0 for a keyframe.
    """

    model_config = ConfigDict(frozen=True)

    shows: Shows
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    frames: int = Field(ge=1)
    picture: str
