"""The films of an evaluation that went wrong, in order of their seeds: nobody picks the kind ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.cinema import Film
from models.evaluation.films import load_strip
from models.evaluation.oracle import NONE, Verdict
from models.evaluation.score import ATTRIBUTES


@dataclass(frozen=True, eq=False)
class Miss:
    """A film that does not show what was asked, and what the oracle saw instead."""

    seed: int
    prompt: str
    asked: Verdict
    seen: Verdict
    film: Film

    @property
    def remark(self) -> str:
        """What was seen, the wrong words first: "seed 7: shape none, not star; motion still, not left"."""
        if self.seen == Verdict():
            return f"seed {self.seed}: the oracle sees no one object on a plain background"
        wrong = [
            f"{'colour' if name == 'color' else name} {seen if seen != NONE else 'unclear'}, not {wanted}"
            for name in ATTRIBUTES
            if (seen := getattr(self.seen, name)) != (wanted := getattr(self.asked, name))
        ]
        return f"seed {self.seed}: {'; '.join(wrong)}"


def first_misses(result: Path, most: int) -> list[Miss]:
    """The first `most` misses of an evaluation's JSON, with their films from the folder beside it.

    Raises ValueError when `result` is no evaluation's report, FileNotFoundError when it or a film is gone.
    """
    try:
        films: list[dict[str, Any]] = json.loads(result.read_text())["films"]
        judged = [
            (film["seed"], film["prompt"], Verdict(**film["asked"]), Verdict(**film["served"]))
            for film in films
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{result} is not the report of an evaluation: {error!r}") from error
    wrong = [each for each in sorted(judged, key=lambda each: int(each[0])) if each[2] != each[3]]
    return [
        Miss(seed, prompt, asked, seen, load_strip(result.with_suffix("") / f"{seed:04d}.png"))
        for seed, prompt, asked, seen in wrong[:most]
    ]
