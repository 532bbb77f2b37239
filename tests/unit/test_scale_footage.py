"""Videos are read frame by frame as a player shows them, and damage is found before training finds it."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from rig.footage import mp4, pan, texture

from models.training.scale.clip_times import Unfit
from models.training.scale.footage import examine, fitted, frame_times, read_frames


def numbered(frames: int, side: int = 96) -> np.ndarray:
    """Frame n shows its number: six fields, each a bit, so that it survives the codec."""
    pictures = np.full((frames, side, side, 3), 40, np.uint8)
    for n in range(frames):
        for bit in range(6):
            if n >> bit & 1:
                pictures[n, :, bit * side // 6 + 1 : (bit + 1) * side // 6] = 215
    return pictures


def level(frame: np.ndarray) -> int:
    """The number that a frame shows, at any width."""
    width = frame.shape[1]
    middles = [round((bit + 0.6) * width / 6) for bit in range(6)]
    return sum(1 << bit for bit, at in enumerate(middles) if frame[:, at].mean() > 128)


@pytest.fixture(scope="module")
def body() -> bytes:
    return mp4(numbered(48), fps=12)


def test_times_without_decoding_are_those_of_the_decoded_frames(body: bytes) -> None:
    seen = examine(body, side=48)
    assert (seen.width, seen.height) == (96, 96)
    assert seen.small.shape == (48, 48, 48, 3)
    assert [level(frame) for frame in seen.small] == list(range(48))
    np.testing.assert_allclose(seen.shown, np.arange(48) / 12)
    np.testing.assert_array_equal(frame_times(body), seen.shown)


@pytest.mark.parametrize("numbers", [[0], [47], [3, 4, 5], [0, 20, 46], [30, 47]])
def test_exactly_the_wanted_frames_are_read(body: bytes, numbers: list[int]) -> None:
    frames = read_frames(body, np.array(numbers), 48, 48)
    assert frames.shape == (len(numbers), 48, 48, 3)
    assert frames.dtype == np.uint8
    assert [level(frame) for frame in frames] == numbers


def test_frames_behind_several_key_frames_of_an_uneven_video_are_found() -> None:
    """Long-running videos are entered in the middle; their frames need not be evenly spaced."""
    out, pictures = io.BytesIO(), numbered(50)
    ticks = np.cumsum([1 if n % 3 else 4 for n in range(50)])
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "7", "bf": "2", "crf": "10"})
        stream.width = stream.height = 96
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 30)
        for picture, tick in zip(pictures, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(tick), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = frame_times(out.getvalue())
    np.testing.assert_allclose(shown - shown[0], (ticks - ticks[0]) / 30, atol=1e-6)
    frames = read_frames(out.getvalue(), np.array([17, 33, 49]), 96, 96)
    assert [level(frame) for frame in frames] == [17, 33, 49]


def test_pictures_that_lean_on_those_before_their_key_frame_are_found() -> None:
    """HEVC has open groups of pictures: entered at a key frame, some of the next are not to be had."""
    out = io.BytesIO()
    settings = "keyint=8:min-keyint=8:bframes=4:b-adapt=0:open-gop=1:scenecut=0:log-level=none:pools=1:crf=8"
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=12, options={"x265-params": settings})
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for picture in numbered(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    assert len(examine(out.getvalue(), 8).shown) == 40
    for number in range(40):
        (frame,) = read_frames(out.getvalue(), np.array([number]), 96, 96)
        assert level(frame) == number


def test_a_wide_picture_is_cut_from_the_middle_and_scaled() -> None:
    wide = texture(1, 96, 48).copy()
    wide[:, :24] = wide[:, 72:] = 0  # what a square cut must leave out
    square = fitted(wide, 24, 24)
    assert square.shape == (24, 24, 3)
    shrunk = wide[:, 24:72].reshape(24, 2, 24, 2, 3).mean(axis=(1, 3))
    assert np.abs(square - shrunk).mean() < 6
    tall = fitted(wide.transpose(1, 0, 2), 24, 24)
    np.testing.assert_allclose(tall.transpose(1, 0, 2), square, atol=1)
    assert fitted(square, 24, 24) is square


def test_damage_is_found() -> None:
    whole = mp4(pan(2, 24))
    half = whole[: len(whole) // 2]  # the index stands at the end and is gone
    front = faststart(pan(2, 24))
    with pytest.raises(Unfit, match="does not decode") as refused:
        examine(half, 8)
    assert refused.value.reason == "corrupt"
    assert len(examine(front, 8).shown) == 24
    with pytest.raises(Unfit, match=r"does not decode|of the 24 frames|is damaged"):
        examine(front[: len(front) * 3 // 4], 8)
    with pytest.raises(Unfit, match="does not decode"):
        frame_times(b"not a video")
    with pytest.raises(Unfit, match=r"number 23 was asked for|not decode"):
        read_frames(front[: len(front) * 3 // 4], np.array([0, 23]), 64, 64)


def test_a_file_of_sound_alone_is_no_video() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(Unfit, match="no video stream"):
        examine(out.getvalue(), 8)


def faststart(frames: np.ndarray) -> bytes:
    """The same, with the index in front: cut short, it opens and promises more than it holds."""
    from worker.film.encode import encode_mp4

    return encode_mp4(frames, fps=8, expected_frames=len(frames)).body
