"""Pack a folder of videos with captions into shards, and say of every file that was left out why.

    python -m models.training.scale.pack VIDEOS SHARDS --frames 16 --fps 4 --size 320x320

VIDEOS is searched through all its folders. A clip is `NAME.mp4` with its caption beside it in `NAME.txt`.
Every video is decoded to its end. SHARDS gets the shards, `shards.json` and `report.json`; the order of the
clips is drawn from `--seed`, so that each shard is a sample of the whole.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from models.training.loop import write_atomically
from models.training.scale.clip_times import ClipRule, Unfit, check_room
from models.training.scale.cuts import SIDE, CutRule, find_cuts
from models.training.scale.footage import examine
from models.training.scale.samples import OTHER_VIDEOS, VIDEO
from models.training.scale.shards import INDEX, Captioned, ShardIndex, write_shards

REPORT = "report.json"
Spread = Callable[[Callable[[Path], "Verdict"], Sequence[Path]], Iterable["Verdict"]]


@dataclass(frozen=True)
class Demand:
    """What every clip must give: room for `rule`, at least width x height pixels, and no cut."""

    rule: ClipRule
    width: int
    height: int
    cuts: CutRule = field(default_factory=CutRule)


@dataclass(frozen=True)
class Verdict:
    """On one file: accepted when `reason` is empty, else `reason` is one word and `sentence` says more."""

    path: Path
    reason: str = ""
    sentence: str = ""
    sha256: str = ""
    seconds: float = 0.0


def judge(demand: Demand, path: Path) -> Verdict:
    """Look at one video and its caption."""
    if path.suffix.lower() != ".mp4":
        return Verdict(path, "not_mp4", f"{path.suffix} is not packed; ffmpeg makes an MP4 of it")
    try:
        caption_of(path)
        body = path.read_bytes()
        seconds = seconds_of(body, demand)
    except Unfit as unfit:
        return Verdict(path, unfit.reason, str(unfit))
    except OSError as error:
        return Verdict(path, "unreadable", f"{error.strerror}")
    return Verdict(path, sha256=hashlib.sha256(body).hexdigest(), seconds=seconds)


def seconds_of(body: bytes, demand: Demand) -> float:
    """How long a video is, once it was decoded to its end. Raises Unfit unless it gives what is demanded."""
    seen = examine(body, SIDE)
    check_room(seen.shown, demand.rule)
    if seen.width < demand.width or seen.height < demand.height:
        raise Unfit(
            "too_small", f"{seen.width}x{seen.height} pixels; {demand.width}x{demand.height} are needed"
        )
    cuts = find_cuts(seen.small, demand.cuts)
    if cuts:
        moments = ", ".join(f"{seen.shown[cut] - seen.shown[0]:.2f}" for cut in cuts[:5])
        raise Unfit("cut_inside", f"{len(cuts)} cut(s), at {moments} s")
    return float(seen.shown[-1] - seen.shown[0])


def caption_of(path: Path) -> str:
    """The text beside a video, without white space around it. Raises Unfit."""
    try:
        caption = path.with_suffix(".txt").read_text("utf-8").strip()
    except FileNotFoundError:
        raise Unfit("no_caption", f"there is no {path.with_suffix('.txt').name} beside it") from None
    except UnicodeDecodeError:
        raise Unfit("bad_caption", "its caption is not UTF-8") from None
    if not caption:
        raise Unfit("no_caption", "its caption is empty")
    return caption


def pack(
    videos: Path,
    folder: Path,
    demand: Demand,
    *,
    seed: int = 0,
    clips_per_shard: int = 256,
    spread: Spread = map,
) -> dict[str, object]:
    """Fill `folder`, which must not hold shards yet; returns the report that is written there.

    `spread` maps a function over the files, in order. Raises ValueError when there is nothing to pack.
    """
    if clips_per_shard < 1:
        raise ValueError(f"clips_per_shard is {clips_per_shard}; it must be at least 1")
    if (folder / INDEX).exists():
        raise ValueError(f"{folder} holds shards already; name another folder")
    suffixes = {VIDEO, *OTHER_VIDEOS}
    paths = sorted(path for path in videos.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    verdicts = list(_without_twins(spread(partial(judge, demand), paths), videos))
    accepted = [verdict for verdict in verdicts if not verdict.reason]
    if not accepted:
        raise ValueError(f"nothing to pack in {videos}: {_tally(verdicts) or 'no video in it'}")
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(accepted))
    chosen = [accepted[number] for number in order]
    clips = (
        Captioned(each.path.read_bytes(), caption_of(each.path), str(each.path.relative_to(videos)))
        for each in chosen
    )
    shards, places = [], []
    for shard, keys in write_shards(folder, clips, clips_per_shard):
        shards.append(shard)
        places += [{"shard": shard.file, "key": key} for key in keys]
    report = _report(videos, verdicts, list(zip(chosen, places, strict=True)))
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / REPORT, lambda path: _put(path, text))
    ShardIndex(demand.rule, demand.width, demand.height, tuple(shards)).write(folder)
    return report


def _report(
    videos: Path, verdicts: Sequence[Verdict], packed: Sequence[tuple[Verdict, dict[str, str]]]
) -> dict[str, object]:
    left_out = [each for each in verdicts if each.reason]
    return {
        "looked_at": len(verdicts),
        "accepted": len(packed),
        "rejected": dict(sorted(Counter(each.reason for each in left_out).items())),
        "seconds": round(sum(each.seconds for each, _ in packed), 3),
        "clips": [{"file": str(each.path.relative_to(videos)), **place} for each, place in packed],
        "left_out": [
            {"file": str(each.path.relative_to(videos)), "reason": each.reason, "why": each.sentence}
            for each in left_out
        ],
    }


def _without_twins(verdicts: Iterable[Verdict], videos: Path) -> Iterator[Verdict]:
    """The same verdicts, but of accepted files with the same bytes only the first stays accepted."""
    first: dict[str, Path] = {}
    for verdict in verdicts:
        twin = None if verdict.reason else first.setdefault(verdict.sha256, verdict.path)
        if twin in (None, verdict.path):
            yield verdict
        else:
            yield replace(
                verdict, reason="duplicate", sentence=f"the same bytes as {twin.relative_to(videos)}"
            )


def _tally(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(each.reason for each in verdicts if each.reason)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def _put(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def size(text: str) -> tuple[int, int]:
    """ "320x240" -> (320, 240)."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` None takes the process's own."""
    parser = argparse.ArgumentParser(description="Pack captioned videos into shards for training.")
    parser.add_argument("videos", type=Path, help="folder of NAME.mp4 with NAME.txt")
    parser.add_argument("shards", type=Path, help="folder to fill")
    parser.add_argument("--frames", type=int, default=16, help="of a training clip")
    parser.add_argument("--fps", type=float, default=4.0, help="at which a clip's frames are taken")
    parser.add_argument("--size", type=size, default=(320, 320), help="smallest picture, WIDTHxHEIGHT")
    parser.add_argument("--clips-per-shard", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the clips")
    parser.add_argument("--processes", type=int, default=1, help="that decode side by side")
    chosen = parser.parse_args(argv)
    try:
        demand = Demand(ClipRule(chosen.frames, chosen.fps), *chosen.size)
        with ProcessPoolExecutor(chosen.processes) as pool:
            report = pack(
                chosen.videos,
                chosen.shards,
                demand,
                seed=chosen.seed,
                clips_per_shard=chosen.clips_per_shard,
                spread=partial(pool.map, chunksize=8),
            )
    except ValueError as error:
        parser.exit(1, f"models.training.scale.pack: {error}\n")
    sys.stdout.write(
        f"{report['accepted']} of {report['looked_at']} packed; left out: {report['rejected']}\n"
    )


if __name__ == "__main__":
    main()
