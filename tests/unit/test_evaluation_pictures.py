"""Measures of pictures, the codec's round trip, strips and sheets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.cinema import Film, frame_digest
from models.evaluation.contact_sheet import Row, contact_sheet, fitting_font, pictures_of
from models.evaluation.fidelity import CEILING_DB, background_drift, object_mask, psnr
from models.evaluation.films import load_strip, save_strip
from models.training.captions import draw_scenes
from models.training.h264 import decode, encode, round_trip
from models.training.world import BACKGROUNDS, COLORS, Scene, coverage, moments_of, render
from worker.film.encode import encode_mp4

SCENES = draw_scenes(24, seed=31, split="held_out")


def film_of(scene: Scene) -> Film:
    frames = render(scene)
    return Film(frames, frames[8], frame_digest(frames))


def test_psnr_of_a_known_error() -> None:
    black = np.zeros((4, 4, 3), dtype=np.uint8)
    grey = np.full_like(black, 51)  # a fifth of the peak: 20 log10(5)
    assert psnr(grey, black) == pytest.approx(13.979, abs=1e-3)
    assert psnr(black, grey) == psnr(grey, black)
    assert psnr(black, black) == CEILING_DB
    half = black.copy()
    half[:2] = 51
    where = np.zeros((4, 4), dtype=np.bool_)
    where[:2] = True
    assert psnr(half, black, where) == pytest.approx(13.979, abs=1e-3)
    assert psnr(half, black) == pytest.approx(13.979 + 3.0103, abs=1e-3)


def test_psnr_refuses_unequal_shapes() -> None:
    with pytest.raises(ValueError, match=r"picture is .* reference is"):
        psnr(np.zeros((4, 4, 3), dtype=np.uint8), np.zeros((4, 5, 3), dtype=np.uint8))


def test_object_mask_is_the_rendered_coverage() -> None:
    for scene in SCENES:
        mask = object_mask(render(scene))
        assert mask is not None
        exact = coverage(scene, moments_of(16)) >= 0.5
        assert (mask != exact).sum() <= 0.03 * exact.sum()
    assert object_mask(np.full((2, 64, 64, 3), 128, dtype=np.uint8)) is None


def test_background_drift_sees_the_background_only() -> None:
    moving = next(scene for scene in SCENES if scene.motion == "left")
    frames = render(moving)
    assert background_drift(frames) == 0.0
    pulsing = frames.copy()
    back = (frames == BACKGROUNDS[moving.background]).all(axis=-1)
    pulsing[1::2][back[1::2]] = np.asarray(BACKGROUNDS[moving.background]) - 3
    assert background_drift(pulsing) == pytest.approx(3.0, abs=0.01)
    assert background_drift(frames[:1]) is None
    assert background_drift(np.full((4, 64, 64, 3), 128, dtype=np.uint8)) is None


def test_codec_is_the_one_that_serves() -> None:
    """The worker's own MP4, decoded, holds the very frames that the oracle is shown."""
    frames = render(SCENES[0])
    served = encode_mp4(frames, fps=8, expected_frames=16).body
    assert np.array_equal(decode(served), round_trip(frames, fps=8))


@pytest.mark.parametrize("color", [*COLORS.values(), *BACKGROUNDS.values()])
def test_codec_keeps_colours(color: tuple[int, int, int]) -> None:
    plain = np.full((4, 64, 64, 3), color, dtype=np.uint8)
    assert np.abs(round_trip(plain).astype(int) - plain).max() <= 4


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        (np.zeros((4, 64, 64, 3), dtype=np.float32), "frames is float32"),
        (np.zeros((4, 63, 64, 3), dtype=np.uint8), "64x63"),
    ],
)
def test_codec_names_frames_that_it_cannot_take(frames: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        encode(frames, 8)


def test_strip_loses_nothing(tmp_path: Path) -> None:
    film = film_of(SCENES[0])
    path = tmp_path / "0000.png"
    save_strip(path, film)
    kept = load_strip(path, 64)
    assert np.array_equal(kept.frames, film.frames)
    assert np.array_equal(kept.keyframe, film.keyframe)
    assert kept.digest == film.digest
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="pictures of 100"):
        load_strip(path, 100)


def test_contact_sheet_shows_first_and_last_frame() -> None:
    films = [film_of(scene) for scene in SCENES[:3]]
    rows = [Row(f"row {number}", film) for number, film in enumerate(films)]
    sheet = np.asarray(contact_sheet(rows, columns=4, scale=1))
    for film in films:
        for picture in (film.keyframe, film.frames[0], film.frames[-1]):
            windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)[:, :, 0]
            rows_where = (windows[:, :, 0, 0] == picture[0, 0]).all(axis=-1)
            assert any(np.array_equal(windows[y, x], picture) for y, x in np.argwhere(rows_where))


def test_contact_sheet_takes_short_films_and_long_prompts() -> None:
    film = film_of(SCENES[0])
    short = replace(film, frames=film.frames[:3])
    assert len(pictures_of(short, 8)) == 4
    assert contact_sheet([Row("word " * 60, short)], columns=3).width < 600
    assert fitting_font("word " * 60, 400).size < fitting_font("word", 400).size


def test_contact_sheet_refuses_nothing_to_show() -> None:
    with pytest.raises(ValueError, match="rows is empty"):
        contact_sheet([])
    with pytest.raises(ValueError, match="columns is 0"):
        contact_sheet([Row("a", film_of(SCENES[0]))], columns=0)
