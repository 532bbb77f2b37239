"""The MP4 as another reader sees it, and the proof that a wrong one is noticed."""

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from models.cinema import frame_digest
from worker.film.encode import EncodeFailed, encode_mp4, verify_mp4


def frames(count: int, height: int = 48, width: int = 64) -> list[Any]:
    """A bright square that walks over a saturated ground."""
    made = []
    for index in range(count):
        picture = np.full((height, width, 3), (20, 60, 200), np.uint8)
        picture[8:24, 2 * index : 2 * index + 16] = (230, 40, 30)
        made.append(picture)
    return made


@pytest.mark.parametrize(("count", "fps"), [(1, 8), (2, 1), (16, 8), (16, 30), (25, 24), (7, 13)])
def test_film_has_exactly_the_promised_frames_and_times(count: int, fps: int) -> None:
    film = encode_mp4(frames(count), fps=fps, expected_frames=count)
    with av.open(io.BytesIO(film.body)) as container:
        stream = container.streams.video[0]
        seen = [
            (frame.pts * frame.time_base, frame.width, frame.height) for frame in container.decode(stream)
        ]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(container.duration / av.time_base) == pytest.approx(count / fps, abs=1e-3)
    assert seen == [(pytest.approx(index / fps), 64, 48) for index in range(count)]
    assert (film.width, film.height, film.frames, film.fps) == (64, 48, count, fps)
    assert film.frame_digest == frame_digest(frames(count))
    assert film.body.find(b"moov") < film.body.find(b"mdat")


def test_colours_survive_because_they_are_tagged() -> None:
    film = encode_mp4(frames(8), fps=8, expected_frames=8)
    with av.open(io.BytesIO(film.body)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        first = next(container.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert np.abs(first[40, 50].astype(int) - (20, 60, 200)).max() <= 6
    assert np.abs(first[16, 8].astype(int) - (230, 40, 30)).max() <= 6


def test_same_frames_make_the_same_bytes() -> None:
    one, two = (encode_mp4(frames(6), fps=8, expected_frames=6) for _ in range(2))
    assert one.body == two.body


def test_frames_are_taken_one_by_one_and_their_error_passes_through() -> None:
    def three_and_a_stop() -> Iterator[Any]:
        yield from frames(3)
        raise KeyError("stopped here")

    with pytest.raises(KeyError, match="stopped here"):
        encode_mp4(three_and_a_stop(), fps=8, expected_frames=16)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no frames to encode, 4 expected"),
        (frames(3), "made 3 frames, 4 were promised"),
        (frames(5), "made 5 frames, 4 were promised"),
        (frames(4, height=47), "64x47 is odd"),
        ([np.zeros((8, 8, 3), np.float32)] * 4, "frame 0 is float32"),
        ([np.zeros((8, 8), np.uint8)] * 4, r"frame 0 is uint8 \(8, 8\)"),
        ([*frames(3), *frames(1, width=32)], r"frame 3 is \(48, 32, 3\), the first was \(48, 64, 3\)"),
    ],
)
def test_frames_that_make_no_film(given: list[Any], words: str) -> None:
    with pytest.raises(EncodeFailed, match=words):
        encode_mp4(given, fps=8, expected_frames=4)


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        ({"frames": 15}, "frames: 16, promised 15"),
        ({"fps": 9}, "times"),
        ({"width": 66}, r"size: \(64, 48\), promised \(66, 48\)"),
    ],
)
def test_verification_names_the_difference(promise: dict[str, int], words: str) -> None:
    body = encode_mp4(frames(16), fps=8, expected_frames=16).body
    whole = {"width": 64, "height": 48, "frames": 16, "fps": 8}
    with pytest.raises(EncodeFailed, match=words):
        verify_mp4(body, **whole | promise)


def test_verification_sees_a_film_cut_short_and_an_index_behind() -> None:
    body = encode_mp4(frames(16), fps=8, expected_frames=16).body
    promise = {"width": 64, "height": 48, "frames": 16, "fps": 8}
    with pytest.raises(EncodeFailed):
        verify_mp4(body[: len(body) * 2 // 3], **promise)
    with pytest.raises(EncodeFailed, match="does not decode"):
        verify_mp4(b"not a film at all", **promise)
    behind = io.BytesIO()
    with av.open(io.BytesIO(body)) as source, av.open(behind, "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(EncodeFailed, match="index"):
        verify_mp4(behind.getvalue(), **promise)
