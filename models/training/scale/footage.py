"""Videos in: MP4 bytes to frame times, to small pictures of every frame, and to the frames of one clip.

PyAV decodes. Frames are RGB uint8 (H, W, 3), cut to the wanted shape from the middle and scaled; a display
rotation in the container (telephones held upright) is not applied.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.training.scale.clip_times import Seconds, Unfit

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Footage:
    """What was seen of a whole video: width and height in pixels, the time of every frame, ascending, in
    seconds, and `small` (F, side, side, 3), every frame squeezed into a square.
    """

    width: int
    height: int
    shown: Seconds
    small: Frames


def examine(body: bytes, side: int) -> Footage:
    """Decode a whole video. Raises Unfit, reason `corrupt`, at the first sign that something is missing:

    bytes that do not decode, frames that the decoder marks as damaged, fewer than the container promises, or
    at other times than `frame_times` says.
    """
    shown: list[float] = []
    small: list[Frames] = []
    with _opened(body) as (container, stream):
        for frame in container.decode(stream):
            if frame.is_corrupt or frame.pts is None:
                raise Unfit("corrupt", f"frame {len(shown)} is damaged")
            shown.append(float(frame.pts * stream.time_base))
            small.append(frame.reformat(side, side, "rgb24", interpolation="AREA").to_ndarray())
        promised, size = stream.frames, (stream.codec_context.width, stream.codec_context.height)
    if not shown:
        raise Unfit("corrupt", "it holds no frame")
    if len(shown) < promised:
        raise Unfit("corrupt", f"it holds {len(shown)} of the {promised} frames that it promises")
    if shown != frame_times(body).tolist():
        raise Unfit("corrupt", "its frames do not come at the times that its packets name")
    return Footage(*size, np.array(shown), np.stack(small))


def frame_times(body: bytes) -> Seconds:
    """Times at which a video's frames are shown, ascending, in seconds; nothing is decoded. Raises Unfit."""
    with _opened(body) as (container, stream):
        ticks = sorted(packet.pts for packet in container.demux(stream) if _shows(packet))
        return np.array([float(tick * stream.time_base) for tick in ticks])


def read_frames(body: bytes, numbers: NDArray[np.int64], width: int, height: int) -> Frames:
    """The frames with these numbers (ascending, as displayed) as (F, height, width, 3). Raises Unfit."""
    with _opened(body) as (container, stream):
        ticks = sorted(packet.pts for packet in container.demux(stream) if _shows(packet))
        if numbers[-1] >= len(ticks):
            raise Unfit("corrupt", f"it holds {len(ticks)} frames, number {numbers[-1]} was asked for")
        wanted = [ticks[number] for number in numbers]
        # From the key frame before the first one; where pictures lean on what came before their key frame
        # (open groups of pictures, as HEVC has them), from the beginning.
        for start in (wanted[0], ticks[0]):
            container.seek(start, stream=stream, backward=True)
            found: dict[int, Frames] = {}
            for frame in container.decode(stream):
                if frame.pts in wanted and not frame.is_corrupt:
                    found[frame.pts] = fitted(frame.to_ndarray(format="rgb24"), width, height)
                if len(found) == len(set(wanted)):
                    return np.stack([found[tick] for tick in wanted])
    raise Unfit("corrupt", f"{len(set(wanted)) - len(found)} of its frames do not decode")


def fitted(picture: Frames, width: int, height: int) -> Frames:
    """The middle of a picture (H, W, 3), as large as the wanted shape allows, scaled to it (Lanczos)."""
    h, w = picture.shape[:2]
    if (w, h) == (width, height):
        return picture
    scale = min(w / width, h / height)
    left, top = (w - width * scale) / 2, (h - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image)


@contextmanager
def _opened(body: bytes) -> Iterator[tuple[Any, Any]]:
    """Container and first video stream; what goes wrong inside is Unfit, reason `corrupt`."""
    try:
        with av.open(io.BytesIO(body)) as container:
            if not container.streams.video:
                raise Unfit("corrupt", "it has no video stream")
            yield container, container.streams.video[0]
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        raise Unfit("corrupt", f"it does not decode: {error}") from error


def _shows(packet: Any) -> bool:
    return packet.pts is not None and not packet.is_discard
