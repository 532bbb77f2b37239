"""Frames to H.264 MP4, in memory, and the proof that the bytes hold exactly those frames.

H.264 (ITU-T H.264), 4:2:0, 8 bit, in ISO BMFF with the index in front (`faststart`), so that players start
before the whole file is there. Colours are converted to, and tagged as, BT.709 limited range: an untagged
file is guessed at by each player, and small pictures are usually guessed as BT.601.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from service.contracts.artifact import Artifact

CONTENT_TYPE = "video/mp4"
_BT709 = 1  # ITU-T H.273 code point, the same number for primaries, transfer and matrix
_LIMITED_RANGE = 1
# Visually lossless on flat synthetic pictures as well as on natural ones.
_QUALITY = {"crf": "16", "preset": "medium"}


class EncodeFailed(Exception):
    """The frames could not be made into the promised file."""


@dataclass(frozen=True)
class EncodedVideo:
    """An MP4 whose frame count, size and frame rate were read back from its own bytes.

    `frame_digest` is the sha256 (hex) of the uint8 frames before encoding, F H W C order: the identity of
    "the same video", since MP4 bytes may differ between builds of the encoder.
    """

    body: bytes
    width: int
    height: int
    frames: int
    fps: int
    frame_digest: str


def video_artifact(key: str, film: EncodedVideo, thumbnail: Artifact, spritesheet: Artifact) -> Artifact:
    """How the record names a film stored under `key`, with the pictures of it beside."""
    return Artifact(
        key=key,
        content_type=CONTENT_TYPE,
        bytes=len(film.body),
        sha256=hashlib.sha256(film.body).hexdigest(),
        width=film.width,
        height=film.height,
        frames=film.frames,
        fps=film.fps,
        frame_digest=film.frame_digest,
        thumbnail=thumbnail,
        spritesheet=spritesheet,
    )


class _SeekableBuffer(io.BytesIO):
    # FFmpeg's second pass reopens its output by name to move the index in front of the pictures.
    name = "video.mp4"


def encode_mp4(frames: Iterable[np.ndarray], *, fps: int, expected_frames: int) -> EncodedVideo:
    """Encode `frames`, each uint8 (H, W, 3) RGB with even H and W, at `fps` frames a second.

    Frames are taken one by one, so a generator that decodes latents never holds the whole video. Exceptions
    of that generator pass through unchanged.
    Raises EncodeFailed if the frames are malformed, if their number is not `expected_frames`, or if the
    finished file does not decode to exactly these frames at this rate.
    """
    digest = hashlib.sha256()
    buffer = _SeekableBuffer()
    frames = _checked(iter(frames), digest)
    first = next(frames, None)
    if first is None:
        raise EncodeFailed(f"no frames to encode, {expected_frames} expected")
    height, width, _ = first.shape
    count = _write(buffer, first, frames, fps)
    if count != expected_frames:
        raise EncodeFailed(f"the model made {count} frames, {expected_frames} were promised")
    body = buffer.getvalue()
    verify_mp4(body, width=width, height=height, frames=count, fps=fps)
    return EncodedVideo(body, width, height, count, fps, digest.hexdigest())


def _checked(frames: Iterator[np.ndarray], digest: hashlib._Hash) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise EncodeFailed(f"frame {index} is {frame.dtype} {frame.shape}, uint8 (H, W, 3) expected")
        if shape is None:
            shape = frame.shape
            if shape[0] % 2 or shape[1] % 2:
                raise EncodeFailed(f"frame size {shape[1]}x{shape[0]} is odd, 4:2:0 needs even sizes")
        if frame.shape != shape:
            raise EncodeFailed(f"frame {index} is {frame.shape}, the first was {shape}")
        digest.update(frame.tobytes())  # C order whatever the memory layout
        yield np.ascontiguousarray(frame)


def _write(buffer: _SeekableBuffer, first: np.ndarray, rest: Iterator[np.ndarray], fps: int) -> int:
    def reopen(_name: str, _flags: int, _options: dict[str, str]) -> io.BytesIO:
        return io.BytesIO(buffer.getvalue())

    container = av.open(buffer, "w", format="mp4", options={"movflags": "+faststart"}, io_open=reopen)
    try:
        with container:
            stream = container.add_stream("libx264", rate=fps, options=_QUALITY)
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = "yuv420p"
            codec = stream.codec_context
            codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
            codec.color_range = _LIMITED_RANGE
            # The encoder's output depends on its thread count; one thread makes a repeated attempt write the
            # same bytes. Encoding is a rounding error beside denoising.
            codec.thread_count = 1
            count = 0
            frame: np.ndarray | None = first
            while frame is not None:
                container.mux(stream.encode(_picture(frame, count, fps)))
                count += 1
                frame = next(rest, None)
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise EncodeFailed(f"the encoder refused: {error}") from error
    return count


def _picture(frame: np.ndarray, index: int, fps: int) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
    picture = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    picture.pts, picture.time_base = index, Fraction(1, fps)
    return picture


def verify_mp4(body: bytes, *, width: int, height: int, frames: int, fps: int) -> None:
    """Decode `body` whole and compare it with what was promised.

    Checks codec, pixel format, size, frame count, the exact time of every frame (index / fps) and that the
    index (moov) stands before the pictures (mdat). Raises EncodeFailed naming the first difference.
    """
    try:
        with av.open(io.BytesIO(body), "r", format="mp4") as container:
            stream = container.streams.video[0]
            codec = stream.codec_context
            times = [frame.pts * frame.time_base for frame in container.decode(stream)]
            seen = {
                "codec": codec.name,
                "pixel format": codec.pix_fmt,
                "size": (codec.width, codec.height),
                "frames": len(times),
                "times": times,
                "rate": stream.average_rate,
            }
    except (av.error.FFmpegError, IndexError, TypeError) as error:
        raise EncodeFailed(f"the finished file does not decode: {error}") from error
    promised = {
        "codec": "h264",
        "pixel format": "yuv420p",
        "size": (width, height),
        "frames": frames,
        "times": [Fraction(index, fps) for index in range(frames)],
        "rate": Fraction(fps),
    }
    for aspect, wanted in promised.items():
        if seen[aspect] != wanted:
            raise EncodeFailed(f"the finished file's {aspect}: {seen[aspect]}, promised {wanted}")
    index_at, pictures_at = body.find(b"moov"), body.find(b"mdat")
    if not 0 <= index_at < pictures_at:
        raise EncodeFailed("the finished file's index does not stand before its pictures")
