"""Stored objects, as the record names them. An object counts only once a record names its key."""

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.ids import SHA256_PATTERN
from service.contracts.receipt import Receipt, Reproduction


class Upload(BaseModel):
    """A client's picture as it came, kept because it carries content credentials of its own."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(min_length=1, max_length=1024)
    sha256: str = Field(pattern=SHA256_PATTERN)
    content_type: str


class Artifact(BaseModel):
    """A stored picture or video with its checksum.

    `bytes` is the object's length; `width` and `height` are pixels; `frames` and `fps` are None for a
    picture. `sha256` is of the stored bytes; `frame_digest` is the sha256 of the uint8 frames (F H W C, RGB)
    before encoding: two videos are the same video when their frame digests are equal.
    Beside a video its worker stores two pictures of it (worker/film/stills.py): `thumbnail`, and
    `spritesheet` of `frames` small frames. A video of before there were any has none. `receipt` says how a
    video came to be, and `reproduction` what came of it, if it was to repeat another. `upload`: the file that
    a client sent for this keyframe. What a newer version says of it besides goes along: a candidate is copied
    when it becomes the keyframe.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    key: str = Field(min_length=1, max_length=1024)
    content_type: str
    bytes: int = Field(ge=1)
    sha256: str = Field(pattern=SHA256_PATTERN)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    frames: int | None = Field(default=None, ge=1)
    fps: int | None = Field(default=None, ge=1)
    frame_digest: str | None = Field(default=None, pattern=SHA256_PATTERN)
    thumbnail: "Artifact | None" = None
    spritesheet: "Artifact | None" = None
    upload: Upload | None = None
    receipt: Receipt | None = None
    reproduction: Reproduction | None = None

    def names(self, key: str) -> bool:
        """Whether `key` is this object's, or that of one beside it."""
        beside = (self.thumbnail, self.spritesheet, self.upload)
        return self.key == key or any(other is not None and other.key == key for other in beside)


class Checkpoint(BaseModel):
    """Stored latents after `step` finished steps of stage 2: a later attempt goes on from there."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(min_length=1, max_length=1024)
    sha256: str = Field(pattern=SHA256_PATTERN)
    step: int = Field(ge=1)
