"""From names in the settings to checkers: those of this service, and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

from worker.checkers.open_nsfw import open_nsfw
from worker.checkers.words import word_list
from worker.loading import WrongSettings
from worker.moderation import Checkers, PictureChecker, PromptChecker
from worker.settings import WorkerSettings

Checker = TypeVar("Checker")

#: A package offers a checker in one of these groups, as a function without arguments that makes it.
PROMPT_GROUP, KEYFRAME_GROUP = "microcinema.prompt_checkers", "microcinema.keyframe_checkers"


def open_checkers(settings: WorkerSettings) -> Checkers:
    """The chosen ones, made: models are loaded now. Raises WrongSettings."""
    ours_of_prompts: Mapping[str, Callable[[], PromptChecker]] = {"words": partial(_words, settings)}
    ours_of_keyframes: Mapping[str, Callable[[], PictureChecker]] = {
        "open_nsfw": partial(open_nsfw, settings.open_nsfw_threshold)
    }
    return Checkers(
        _made("MICROCINEMA_PROMPT_CHECKERS", settings.prompt_checkers, ours_of_prompts, PROMPT_GROUP),
        _made("MICROCINEMA_KEYFRAME_CHECKERS", settings.keyframe_checkers, ours_of_keyframes, KEYFRAME_GROUP),
    )


def _words(settings: WorkerSettings) -> PromptChecker:
    if settings.prompt_words is None:
        raise WrongSettings("MICROCINEMA_PROMPT_CHECKERS names words: set MICROCINEMA_PROMPT_WORDS to a file")
    return word_list(settings.prompt_words)


def _made(
    variable: str, chosen: str, ours: Mapping[str, Callable[[], Checker]], group: str
) -> dict[str, Checker]:
    """Ours go before those of packages: no installed package takes the place of one."""
    makers: dict[str, Callable[[], Checker]] = {}
    for name in filter(None, (part.strip() for part in chosen.split(","))):
        offered = entry_points(group=group)
        if name in ours:
            makers[name] = ours[name]
        elif name in offered.names:
            makers[name] = _of_package(variable, name, group)
        else:
            known = ", ".join(sorted({*ours, *offered.names}))
            raise WrongSettings(f"{variable} names {name!r}; there are {known}")
    return {name: make() for name, make in makers.items()}


def _of_package(variable: str, name: str, group: str) -> Callable[[], Any]:
    (entry,) = entry_points(group=group, name=name)

    def make() -> Any:
        try:
            checker = entry.load()()
        except Exception as error:
            raise WrongSettings(f"{variable}: {name} ({entry.value}) cannot be made: {error}") from error
        if not callable(checker):
            kind = type(checker).__name__
            raise WrongSettings(f"{variable}: {name} ({entry.value}) made {kind}, no function")
        return checker

    return make
