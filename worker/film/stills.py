"""Two pictures of a video, taken from its frames as they pass on their way to the encoder.

The thumbnail is the centre frame, which is the keyframe where a model has one. The spritesheet shows up to 16
frames, evenly spread, in reading order, four a row, without gaps: a player that has width, height and their
number finds each by arithmetic. Only what is shown is kept, small, so the whole video is never in memory.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from service.contracts.artifact import Artifact
from service.contracts.keys import SPRITESHEET, THUMBNAIL
from worker.attempt import Attempt
from worker.renderer import Picture

COLUMNS = 4
SPRITES_MAX = 16
THUMBNAIL_SIDE, SPRITE_SIDE = 512, 160
"""The longer side is at most so many pixels; smaller frames are never enlarged."""


@dataclass(frozen=True)
class Still:
    """A finished picture: the name of its object, how the record names it, and its bytes."""

    name: str
    artifact: Artifact
    body: bytes


class Stills:
    """Looks at the frames of one video, of which there will be `frames` (at least 1)."""

    def __init__(self, frames: int) -> None:
        self._centre = frames // 2
        shown = min(frames, SPRITES_MAX)
        self._at = {index * frames // shown for index in range(shown)}
        self._thumbnail: Image.Image | None = None
        self._sprites: list[Image.Image] = []

    def watch(self, frames: Iterator[Picture]) -> Iterator[Picture]:
        """The same frames, uint8 RGB (H, W, 3), one by one."""
        for index, frame in enumerate(frames):
            if index == self._centre:
                self._thumbnail = within(frame, THUMBNAIL_SIDE)
            if index in self._at:
                self._sprites.append(within(frame, SPRITE_SIDE))
            yield frame

    def finished(self, attempt: Attempt) -> tuple[Still, Still]:
        """Thumbnail (WebP) and spritesheet (JPEG), named as objects of `attempt`.

        ValueError before all frames have passed.
        """
        if self._thumbnail is None or len(self._sprites) != len(self._at):
            raise ValueError(f"{len(self._sprites)} of {len(self._at)} sprites have passed")
        thumbnail, sheet = _encoded(self._thumbnail, "WEBP", quality=85), _sheet(self._sprites)
        return (
            _still(attempt, THUMBNAIL, "image/webp", thumbnail, self._thumbnail.size),
            _still(
                attempt,
                SPRITESHEET,
                "image/jpeg",
                _encoded(sheet, "JPEG", quality=85),
                sheet.size,
                frames=len(self._sprites),
            ),
        )


def within(frame: Picture, side: int) -> Image.Image:
    """A frame as a picture of its own whose longer side is at most `side` pixels."""
    image = Image.fromarray(frame)
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # A copy in either case: whoever made the frame may use its memory again.
    return image.copy() if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _sheet(sprites: list[Image.Image]) -> Image.Image:
    width, height = sprites[0].size
    columns = min(COLUMNS, len(sprites))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(sprites) / columns) * height))
    for index, sprite in enumerate(sprites):
        row, column = divmod(index, columns)
        sheet.paste(sprite, (column * width, row * height))
    return sheet


def _encoded(image: Image.Image, kind: str, quality: int) -> bytes:
    body = io.BytesIO()
    image.save(body, kind, quality=quality)
    return body.getvalue()


def _still(
    attempt: Attempt,
    name: str,
    content_type: str,
    body: bytes,
    size: tuple[int, int],
    frames: int | None = None,
) -> Still:
    artifact = Artifact(
        key=attempt.key(name),
        content_type=content_type,
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        width=size[0],
        height=size[1],
        frames=frames,
    )
    return Still(name, artifact, body)
