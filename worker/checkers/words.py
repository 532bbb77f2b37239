"""A list of words and phrases that no prompt may have: the reference of a prompt checker, no more."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from worker.loading import WrongSettings
from worker.moderation import PromptChecker

_WORD = re.compile(r"\w+")


def word_list(path: Path) -> PromptChecker:
    """Of a UTF-8 file with a word or phrase a line; empty lines and those that begin with # say nothing.

    Whole words are compared, in sequence, whatever their case, accents, width and punctuation.
    Raises WrongSettings.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSettings(f"MICROCINEMA_PROMPT_WORDS={path} cannot be read: {error}") from error
    phrases = {words for line in lines if not line.lstrip().startswith("#") and (words := _words(line))}
    if not phrases:
        raise WrongSettings(f"MICROCINEMA_PROMPT_WORDS={path} has no word in it")
    longest = max(len(words) for words in phrases)

    def check(prompt: str) -> str | None:
        words = _words(prompt)
        for start in range(len(words)):
            for end in range(start + 1, min(start + longest, len(words)) + 1):
                if words[start:end] in phrases:
                    return f"has {' '.join(words[start:end])!r}"
        return None

    return check


def _words(text: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return tuple(_WORD.findall("".join(sign for sign in plain if not _is_unseen(sign))))


def _is_unseen(sign: str) -> bool:
    """Accents, and signs without width that would part a word."""
    return bool(unicodedata.combining(sign)) or unicodedata.category(sign) == "Cf"
