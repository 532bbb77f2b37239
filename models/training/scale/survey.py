"""Look through shards of another maker (WebVid's, or whatever img2dataset and its kin write), where they lie.

    python -m models.training.scale.survey SHARDS --frames 16 --fps 4 --size 320x320 --processes 8

Every tar file below SHARDS is read, every video in it decoded to its end. SHARDS gets `shards.json`, which
the trainer asks for and which says what it is to pass over, and `report.json`: what that is, and why. Nothing
is copied and no shard is changed. What is wrong with one clip or one file costs that clip or that file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from models.training.loop import write_atomically
from models.training.scale.clip_times import ClipRule, Unfit
from models.training.scale.pack import REPORT, Demand, seconds_of, size
from models.training.scale.samples import Sample, opened
from models.training.scale.shards import INDEX, Shard, ShardIndex

Spread = Callable[[Callable[[Path], "Found"], Sequence[Path]], Iterable["Found"]]


@dataclass(frozen=True)
class Seen:
    """One sample or file: used when `reason` is empty. `number`: of a clip, in the order of the videos."""

    name: str
    reason: str = ""
    why: str = ""
    number: int | None = None
    sha256: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Found:
    """In one tar file, whose own bytes have this `sha256`."""

    path: Path
    sha256: str
    seen: tuple[Seen, ...]


def look_through(demand: Demand, path: Path) -> Found:
    """Judge every clip of a tar file; what cannot be read is a finding like all others."""
    seen: list[Seen] = []
    sha256 = ""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with opened(path) as content:
            seen += [_judge(demand, clip, number) for number, clip in enumerate(content.clips)]
            seen += [_judge(demand, sample, None) for sample in content.others]
            seen += [Seen(name, unfit.reason, str(unfit)) for name, unfit in content.astray.items()]
    except Unfit as unfit:
        seen.append(Seen("(the file)", unfit.reason, str(unfit)))
    except OSError as error:
        seen.append(Seen("(the file)", "unreadable", f"{error.strerror}"))
    return Found(path, sha256, tuple(seen))


def _judge(demand: Demand, sample: Sample, number: int | None) -> Seen:
    try:
        body = sample.mp4
        if not sample.caption:
            raise Unfit("no_caption", "its caption is empty")
        seconds = seconds_of(body, demand)
    except Unfit as unfit:
        return Seen(sample.key, unfit.reason, str(unfit), number)
    return Seen(sample.key, "", "", number, hashlib.sha256(body).hexdigest(), seconds)


def survey(folder: Path, demand: Demand, *, spread: Spread = map) -> dict[str, object]:
    """Write shards.json and report.json beside the shards; returns the report.

    `spread` maps a function over the files, in order. Raises ValueError when no clip can be used, and for a
    folder that has a shards.json already.
    """
    if (folder / INDEX).exists():
        raise ValueError(
            f"{folder} has a {INDEX} already; delete it to have these shards looked through again"
        )
    paths = sorted(path for path in folder.rglob("*.tar") if path.is_file())
    found = _without_twins(spread(partial(look_through, demand), paths))
    shards = [
        Shard(
            each.path.relative_to(folder).as_posix(),
            sum(1 for seen in each.seen if not seen.reason),
            each.sha256,
            tuple(seen.number for seen in each.seen if seen.reason and seen.number is not None),
        )
        for each in found
    ]
    report = _report(folder, found)
    used = tuple(shard for shard in shards if shard.clips)
    if not used:
        raise ValueError(
            f"nothing to train on in {folder}: {report['left_out_by_reason'] or 'no .tar in it'}"
        )
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / REPORT, lambda path: _put(path, text))
    ShardIndex(demand.rule, demand.width, demand.height, used).write(folder)
    return report


def _without_twins(found: Iterable[Found]) -> list[Found]:
    """The same findings, but of clips with the same bytes only the first stays in use."""
    first: dict[str, str] = {}
    judged = []
    for each in found:
        seen = []
        for one in each.seen:
            here = f"{each.path.name}: {one.name}"
            twin = here if one.reason else first.setdefault(one.sha256, here)
            if twin != here:
                seen.append(replace(one, reason="duplicate", why=f"the same bytes as {twin}"))
            else:
                seen.append(one)
        judged.append(replace(each, seen=tuple(seen)))
    return judged


def _report(folder: Path, found: Sequence[Found]) -> dict[str, object]:
    every = [(each.path.relative_to(folder).as_posix(), seen) for each in found for seen in each.seen]
    out = [(file, seen) for file, seen in every if seen.reason]
    return {
        "shards": len(found),
        "looked_at": len(every),
        "accepted": len(every) - len(out),
        "left_out_by_reason": dict(sorted(Counter(seen.reason for _, seen in out).items())),
        "seconds": round(sum(seen.seconds for _, seen in every if not seen.reason), 3),
        "left_out": [
            {"shard": file, "name": seen.name, "reason": seen.reason, "why": seen.why} for file, seen in out
        ],
    }


def _put(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` None takes the process's own."""
    parser = argparse.ArgumentParser(description="Look through shards of another maker, to train on them.")
    parser.add_argument("shards", type=Path, help="folder of .tar files, with folders in it")
    parser.add_argument("--frames", type=int, default=16, help="of a training clip")
    parser.add_argument("--fps", type=float, default=4.0, help="at which a clip's frames are taken")
    parser.add_argument("--size", type=size, default=(320, 320), help="smallest picture, WIDTHxHEIGHT")
    parser.add_argument("--processes", type=int, default=1, help="that decode side by side, a shard each")
    chosen = parser.parse_args(argv)
    try:
        demand = Demand(ClipRule(chosen.frames, chosen.fps), *chosen.size)
        with ProcessPoolExecutor(chosen.processes) as pool:
            report = survey(chosen.shards, demand, spread=pool.map)
    except ValueError as error:
        parser.exit(1, f"models.training.scale.survey: {error}\n")
    sys.stdout.write(
        f"{report['accepted']} of {report['looked_at']} in {report['shards']} shards are used; left out: "
        f"{report['left_out_by_reason']}\n"
    )


if __name__ == "__main__":
    main()
