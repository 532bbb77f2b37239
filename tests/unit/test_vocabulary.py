"""Warnings about words: what counts as known, and how the rest is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from transformers import CLIPTokenizer

from models.cinema import MICRO_WEIGHTS
from models.spec import MICRO
from models.training.captions import draw_scenes, held_out_prompts, training_caption
from models.training.words import training_vocabulary, write_vocabulary
from models.weights import check_manifest, read_spec
from service.contracts.model_spec import ModelSpec, Vocabulary
from service.fields.vocabulary import MAX_WORDS_NAMED, unknown_words, words
from worker.catalogue import public_spec


@pytest.fixture(scope="module")
def micro() -> ModelSpec:
    spec = read_spec(MICRO_WEIGHTS)
    return public_spec(spec, weight_hash="feedface", pool="default", samplers=["ddim"])


def test_the_shipped_vocabulary_is_the_one_of_the_captions(tmp_path: Path) -> None:
    """After new weights: `python -m models.training.words --weights models/micro`."""
    assert read_spec(MICRO_WEIGHTS).vocabulary == training_vocabulary()
    folder = tmp_path / "micro"
    folder.mkdir()
    for name in ("cinema.json", "manifest.json"):
        shutil.copy(MICRO_WEIGHTS / name, folder)
    written = (folder / "cinema.json").read_bytes()
    write_vocabulary(folder)
    assert (folder / "cinema.json").read_bytes() == written
    bare = json.loads(written)
    del bare["vocabulary"]
    (folder / "cinema.json").write_text(json.dumps(bare))
    assert read_spec(folder).vocabulary is None
    write_vocabulary(folder)
    assert (folder / "cinema.json").read_bytes() == written
    check_manifest(folder)


def test_the_vocabulary_is_what_captions_hold_and_no_more() -> None:
    vocabulary = training_vocabulary()
    every = [*vocabulary.telling, *vocabulary.filler]
    assert len(set(every)) == len(every)
    rng = np.random.default_rng(5)
    captions = [training_caption(scene, rng) for scene in draw_scenes(3000, 5, "train")]
    assert {word for caption in captions for word in words(caption)} == set(every)
    assert {"red", "star", "gray", "left", "spinning"} <= set(vocabulary.telling)
    assert {"a", "background", "moving"} <= set(vocabulary.filler)


def test_prompts_of_the_evaluation_get_no_warning(micro: ModelSpec) -> None:
    assert [unknown_words(prompt, micro) for prompt, _ in held_out_prompts(200, 7)] == [()] * 200


@pytest.mark.parametrize(
    "prompt",
    [
        "A RED Circle, moving left!",
        "\ufeffred\u200b circle\u00ad",  # nothing of it is seen, and words are whole
        "the circle's background: white",
        "the circle\u2019s background (white)",
        "\u201cred\u201d star; standing-still...",
        "square\trotating\n",
    ],
)
def test_case_punctuation_and_possessive_make_no_difference(micro: ModelSpec, prompt: str) -> None:
    assert unknown_words(prompt, micro) == ()


def test_unknown_words_are_named_with_what_is_known(micro: ModelSpec) -> None:
    (warning,) = unknown_words("a red Dragon on the moon, a DRAGON!", micro)
    assert warning.startswith('microcinema-micro never read "dragon", "moon": ')
    assert "It knows red, green, " in warning
    assert warning.endswith(" not.")


@pytest.mark.parametrize("word", ["as", "is not a dragon", "3", "don't", "\U0001f534", "rouge", "squares"])
def test_words_that_only_look_known(micro: ModelSpec, word: str) -> None:
    (warning,) = unknown_words(f"red circle {word}", micro)
    assert f'"{word.split()[-1]}"' in warning


@pytest.mark.parametrize(
    "prompt",
    ["Red, circle!", "the circle's", "red_circle", "circles", "stars", "R\u200dED star", "cir\u00adcle"],
)
def test_only_a_word_that_the_tokenizer_reads_whole_has_no_warning(micro: ModelSpec, prompt: str) -> None:
    """Of others the text encoder gets pieces that no caption had."""
    tokenizer = CLIPTokenizer.from_pretrained(MICRO_WEIGHTS / "tokenizer")
    assert micro.vocabulary is not None
    known = {*micro.vocabulary.telling, *micro.vocabulary.filler}
    pieces = {piece.removesuffix("</w>") for piece in tokenizer.tokenize(prompt)}
    letters = {piece for piece in pieces if piece.isascii() and piece.isalpha() and piece != "s"}
    assert (unknown_words(prompt, micro) == ()) == (letters <= known)


@pytest.mark.parametrize(
    "prompt", ["a dragon", "moving on the background", "\u7ea2\u8272\u5706", "\U0001f534", "!?"]
)
def test_a_prompt_without_a_telling_word_is_told_so(micro: ModelSpec, prompt: str) -> None:
    (warning,) = unknown_words(prompt, micro)
    assert "knows no word of this prompt" in warning
    assert "It knows red" in warning


def test_a_warning_stays_short(micro: ModelSpec) -> None:
    prompt = "red " + " ".join(f"{'q' * n}" for n in range(5, 60))
    (warning,) = unknown_words(prompt, micro)
    assert f"and {55 - MAX_WORDS_NAMED} more" in warning
    assert len(warning) < 700
    endless = Vocabulary(telling=tuple(f"word{n}" for n in range(500)), filler=())
    (warning,) = unknown_words("x" * 900, micro.model_copy(update={"vocabulary": endless}))
    assert len(warning) < 700
    assert warning.endswith(" and more.")


def test_models_without_a_list_give_no_warning(micro: ModelSpec) -> None:
    plain = public_spec(MICRO, weight_hash="feedface", pool="default", samplers=["ddim"])
    assert plain.vocabulary is None
    assert unknown_words("a dragon", plain) == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"telling": ()}, "telling"),
        ({"telling": ["w"] * 501}, "telling"),
        ({"filler": ["w"] * 501}, "filler"),
        ({"filler": ["w" * 41]}, "filler"),
    ],
)
def test_a_vocabulary_is_bounded(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Vocabulary.model_validate({"telling": ["red"], "filler": ["a"]} | change)
