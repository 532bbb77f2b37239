"""What a viewer gets: frames after the codec that serves them.

The same choices as the service's encoder (H.264, 4:2:0, BT.709 limited range, CRF 16); a test holds
the two together. The models know nothing of the worker, hence a round trip of their own.
"""

import io
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_BT709 = 1  # ITU-T H.273 code point of primaries, transfer and matrix
_LIMITED_RANGE = 1
_QUALITY = {"crf": "16", "preset": "medium"}


def encode(frames: Pixels, fps: int) -> bytes:
    """uint8 RGB (F, H, W, 3) with even H and W -> an MP4 of F frames at fps frames a second."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames is {frames.dtype} of shape {frames.shape}; it must be uint8 (F, H, W, 3)")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"frames is {frames.shape[2]}x{frames.shape[1]}; 4:2:0 needs even sides")
    body = io.BytesIO()
    with av.open(body, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=_QUALITY)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = _LIMITED_RANGE
        codec.thread_count = 1  # the encoder's choices depend on it
        for index, frame in enumerate(frames):
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            picture.pts, picture.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return body.getvalue()


def decode(body: bytes) -> Pixels:
    """Every frame of an H.264 video, uint8 RGB (F, H, W, 3)."""
    with av.open(io.BytesIO(body), "r") as container:
        pictures = [
            frame.reformat(
                format="rgb24",
                src_colorspace="ITU709",
                src_color_range="MPEG",
                dst_color_range="JPEG",
            ).to_ndarray()
            for frame in container.decode(container.streams.video[0])
        ]
    return np.stack(pictures)


def round_trip(frames: Pixels, fps: int = 8) -> Pixels:
    """The frames as a player shows them: encoded and decoded again, same shape."""
    return decode(encode(frames, fps))
