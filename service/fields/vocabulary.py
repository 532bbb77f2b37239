"""What a prompt says that its model has never read.

A text encoder answers any text with numbers, so unknown words do not fail: they change the video at random.
"""

import unicodedata
from collections.abc import Iterator

from service.contracts.model_spec import ModelSpec, Vocabulary

MAX_WORDS_NAMED = 8
MAX_WORD_SHOWN = 24  # letters
MAX_KNOWN_NAMED = 40


def unknown_words(prompt: str, spec: ModelSpec) -> tuple[str, ...]:
    """At most one warning (a sentence) about the words of `prompt`; none where the model's are not on record.

    Case, punctuation and an English possessive make no difference, since CLIP's tokenizer parts them off:
    "Circle!" and "the circle's" hold the word circle. "Circles" is another word: it falls into pieces that no
    training text held. A prompt without any telling word gets a sentence of its own.
    """
    known = spec.vocabulary
    if known is None:
        return ()
    telling, every = frozenset(known.telling), frozenset((*known.telling, *known.filler))
    read = list(dict.fromkeys(words(prompt)))
    strange = [word for word in read if word not in every]
    if telling.isdisjoint(read):
        said = "knows no word of this prompt that says what to show, so expect any video."
    elif strange:
        said = f"never read {_named(strange)}: what that does to the video is chance."
    else:
        return ()
    return (f"{spec.name} {said} {_knows(known)}",)


def words(text: str) -> Iterator[str]:
    """The words of a text in order, in lower case and without punctuation; an emoji is a word."""
    kept = (_kept(letter) for letter in unicodedata.normalize("NFC", text).replace("\u2019", "'"))
    for word in "".join(kept).casefold().split():
        bare = word.strip("'").removesuffix("'s")
        if bare:
            yield bare


def _kept(letter: str) -> str:
    """A letter as it is, a space for what parts words in the tokenizer too (also unseen, such as joiners)."""
    if letter == "'":
        return letter
    kind = unicodedata.category(letter)
    return " " if kind[0] in "PZC" or kind in ("Sm", "Sk") else letter


def _named(strange: list[str]) -> str:
    named = ", ".join(f'"{_shortened(word)}"' for word in strange[:MAX_WORDS_NAMED])
    more = len(strange) - MAX_WORDS_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _shortened(word: str) -> str:
    return word if len(word) <= MAX_WORD_SHOWN else word[:MAX_WORD_SHOWN] + "..."


def _knows(known: Vocabulary) -> str:
    more = " and more" if len(known.telling) > MAX_KNOWN_NAMED else ""
    return f"It knows {', '.join(known.telling[:MAX_KNOWN_NAMED])}{more}."
