"""What may not be made: prompts are judged before stage 1, keyframes before they are stored or animated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from worker.events import ContentWithheld, Tell
from worker.lease import Held
from worker.renderer import Picture

T = TypeVar("T")

#: Answers what is against the text or the picture (uint8, H W C, RGB), in words for the operator's log alone;
#: None lets it pass. Whatever it raises fails the job.
PromptChecker: TypeAlias = Callable[[str], str | None]
PictureChecker: TypeAlias = Callable[[Picture], str | None]


class ContentRefused(Exception):
    """The job is against the operator's policy; the text, for the client, tells nothing of what was seen."""


class CheckFailed(Exception):
    """A checker did not judge. The job fails: nothing passes unjudged."""


@dataclass(frozen=True)
class Checkers:
    """By the names that the settings choose them by, in their order."""

    prompt: Mapping[str, PromptChecker] = field(default_factory=dict)
    picture: Mapping[str, PictureChecker] = field(default_factory=dict)


class Moderator:
    """Asks every checker. Methods raise ContentRefused or CheckFailed."""

    def __init__(self, checkers: Checkers, tell: Tell) -> None:
        self._checkers, self._tell = checkers, tell

    def judge_prompt(self, held: Held, prompt: str) -> None:
        """Before anything is spent on the job."""
        if self._anything_against(held, "prompt", self._checkers.prompt, prompt):
            raise ContentRefused("the prompt is against the content policy of this service")

    def judge_picture(self, held: Held, picture: Picture) -> None:
        """Before the picture is stored, shown or animated, whoever made it."""
        if self._anything_against(held, "picture", self._checkers.picture, picture):
            raise ContentRefused("the video was withheld by the content policy of this service")

    def may_show(self, held: Held, frame: Picture) -> bool:
        """Whether a frame of an unfinished video may be seen. One that may not is no verdict on the job.

        What a checker does not judge may not be seen either; raises nothing.
        """
        try:
            return not self._anything_against(held, "preview", self._checkers.picture, frame)
        except CheckFailed:
            return False

    def _anything_against(
        self, held: Held, what: str, checkers: Mapping[str, Callable[[T], str | None]], judged: T
    ) -> bool:
        for name, checker in checkers.items():
            try:
                finding = checker(judged)
            except Exception as error:
                raise CheckFailed(f"the {what} checker {name} did not judge") from error
            if finding is not None and not isinstance(finding, str):
                raise CheckFailed(
                    f"the {what} checker {name} answered {type(finding).__name__}, not words or None"
                )
            if finding is not None:
                self._tell(ContentWithheld(*held, what, name, finding))
                return True
        return False
