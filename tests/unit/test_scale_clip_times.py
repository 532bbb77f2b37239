"""The clip sampler against a viewer who watches the video and presses a button at even times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.scale.clip_times import ClipRule, Unfit, clip_frames


def even(frames: int, fps: float) -> np.ndarray:
    return np.arange(frames) / fps


@pytest.mark.parametrize(
    ("source", "rule", "draw", "expected"),
    [
        (even(16, 8), ClipRule(16, 8), 0.9, list(range(16))),  # just fits: every draw gives the whole video
        (even(33, 24), ClipRule(3, 8), 0.0, [0, 3, 6]),
        (even(33, 24), ClipRule(3, 8), 0.999999, [26, 29, 32]),
        (even(100, 30000 / 1001), ClipRule(4, 8), 0.0, [0, 3, 7, 11]),  # 29.97 a second
        (even(5, 8), ClipRule(1, 8), 0.5, [2]),
        (np.array([0, 0.1, 0.2, 0.9, 1.0, 1.1]), ClipRule(3, 2), 0.0, [0, 2, 4]),  # 0.2 stays
    ],
)  # fmt: skip
def test_frames_are_those_on_screen_at_each_moment(source, rule, draw, expected) -> None:
    assert clip_frames(source, rule, draw).tolist() == expected


@given(
    source_fps=st.floats(8, 60),
    extra=st.integers(0, 200),
    frames=st.integers(1, 24),
    draw=st.floats(0, 1, exclude_max=True),
    begin=st.floats(0, 100),
)
def test_any_video_that_is_accepted_gives_a_whole_clip(source_fps, extra, frames, draw, begin) -> None:
    rule = ClipRule(frames, 8)
    shown = begin + even(int(np.ceil(rule.span * source_fps)) + 1 + extra, source_fps)
    numbers = clip_frames(shown, rule, draw)
    assert len(numbers) == frames
    assert numbers[0] >= 0
    assert numbers[-1] < len(shown)
    assert (np.diff(numbers) >= 1).all()  # never the same frame twice
    seen = shown[numbers] - shown[numbers[0]]
    assert np.abs(seen - np.arange(frames) / 8).max() <= 1 / source_fps + 2e-3


def test_starts_are_spread_over_the_whole_video() -> None:
    shown, rule = even(81, 8), ClipRule(17, 8)
    starts = [int(clip_frames(shown, rule, draw)[0]) for draw in np.linspace(0, 1, 650, endpoint=False)]
    counts = np.bincount(starts, minlength=65)
    assert len(counts) == 65
    assert counts[:64].min() >= 9


@pytest.mark.parametrize(
    ("shown", "reason", "words"),
    [
        (even(15, 8), "too_short", "15 frames over 1.75 s; a clip of 16 frames at 8 a second takes 1.88 s"),
        (even(16, 9), "too_short", "over 1.67 s"),
        (even(100, 5), "too_slow", "5.00 frames a second; a clip shows 8"),
        (even(0, 8), "too_short", "0 frames"),
        (np.zeros(40), "too_short", "over 0.00 s"),
    ],
)
def test_a_video_without_room_is_refused_with_the_numbers(shown, reason, words) -> None:
    with pytest.raises(Unfit, match=words) as refused:
        clip_frames(shown, ClipRule(16, 8), 0.0)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("frames", "fps", "named"), [(0, 8, "frames is 0"), (4, 0, "fps is 0")])
def test_a_rule_without_sense_is_refused(frames: int, fps: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ClipRule(frames, fps)
