"""Thumbnail and spritesheet: of the right frames, small, and stored with the video they show."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worker.film.stills import SPRITE_SIDE, SPRITES_MAX, THUMBNAIL_SIDE, Stills


def grey(count: int, height: int = 64, width: int = 96) -> Iterator[np.ndarray]:
    """Frames that say by their brightness which they are: 10 per frame."""
    frame = np.empty((height, width, 3), np.uint8)
    for index in range(count):
        frame[:] = 10 * index  # the same memory again, as a decoder may
        yield frame


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


class Named:
    """All that a still wants of an attempt."""

    def key(self, name: str) -> str:
        return f"default/video_a/1/{name}"


@pytest.mark.parametrize("count", [1, 3, 16, 25])
def test_the_sheet_shows_evenly_spread_frames_in_reading_order(count: int) -> None:
    stills = Stills(count)
    assert sum(1 for _ in stills.watch(grey(count))) == count
    thumbnail, sheet = stills.finished(Named())
    shown = min(count, SPRITES_MAX)
    assert sheet.artifact.frames == shown
    picture = opened(sheet.body).convert("L")
    assert picture.size == (sheet.artifact.width, sheet.artifact.height)
    for cell in range(shown):
        row, column = divmod(cell, 4)
        seen = picture.getpixel((column * 96 + 48, row * 64 + 32))
        assert abs(seen - 10 * (cell * count // shown)) <= 2
    centre = opened(thumbnail.body).convert("L").getpixel((48, 32))
    assert abs(centre - 10 * (count // 2)) <= 2


def test_large_frames_are_made_small_and_keep_their_shape() -> None:
    stills = Stills(1)
    list(stills.watch(grey(1, height=576, width=1024)))
    thumbnail, sheet = stills.finished(Named())
    assert opened(thumbnail.body).size == (THUMBNAIL_SIDE, 288)
    assert opened(sheet.body).size == (SPRITE_SIDE, 90)
    assert (opened(thumbnail.body).format, opened(sheet.body).format) == ("WEBP", "JPEG")


def test_stills_of_half_a_video_are_refused() -> None:
    stills = Stills(4)
    frames = stills.watch(grey(4))
    next(frames)
    with pytest.raises(ValueError, match="1 of 4"):
        stills.finished(Named())


def test_the_record_names_the_stills_beside_the_video(ward: Any) -> None:
    ward.submit("video_a")
    ward.worker().engine.run_ticket()
    ward.until(lambda: ward.job().artifact is not None)
    job = ward.job()
    for still in (job.artifact.thumbnail, job.artifact.spritesheet):
        body = ward.body(still.key)
        assert job.names(still.key)
        assert (len(body), ward.storage.head(still.key).sha256) == (still.bytes, still.sha256)
        assert opened(body).size == (still.width, still.height)
