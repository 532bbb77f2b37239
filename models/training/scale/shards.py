"""Shards of captioned videos in the WebDataset layout, and the order in which a training reads them.

A shard is a tar file that holds, for each clip, `KEY.mp4`, `KEY.txt` (the caption) and `KEY.json` (where it
came from). Beside the shards lies `shards.json`: how many clips each holds, and what was asked of them.
Shards of other makers get theirs from `models.training.scale.survey`, which also says what to pass over.

The order needs no state. Every pass over the shards has its own permutation, drawn from the seed and the
number of the pass; process r of n takes the shards r, r + n, r + 2n, ... of the endless row of all passes. So
the clip at a position of a process's stream is a function of seed, process, number of processes and position,
and a run goes on where it stopped by saying how many clips it has had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import webdataset

from models.training.loop import write_atomically
from models.training.scale.clip_times import ClipRule, Unfit
from models.training.scale.samples import Sample, opened

INDEX = "shards.json"


class BadShards(Exception):
    """Shards that are missing, incomplete or not made for what is asked of them; the sentence says which."""


@dataclass(frozen=True)
class Captioned:
    """One clip: the bytes of its MP4, its caption, and the file that it was packed from."""

    mp4: bytes
    caption: str
    origin: str


@dataclass(frozen=True)
class Shard:
    """A tar file in the folder, and the number of clips in it that are used, from 1.

    `left_out`: the numbers, in the order of its videos, of those that are not.
    """

    file: str
    clips: int
    sha256: str
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class ShardIndex:
    """What lies in a folder of shards: every clip has room for `rule`, and pictures of at least this size."""

    rule: ClipRule
    width: int
    height: int
    shards: tuple[Shard, ...]

    @property
    def digest(self) -> str:
        """Names the clips and their order in the shards."""
        words = (f"{shard.sha256}{list(shard.left_out) or ''}" for shard in self.shards)
        return hashlib.sha256("".join(words).encode()).hexdigest()

    def refuse(self, rule: ClipRule, width: int, height: int) -> None:
        """Raise BadShards unless every clip has room for `rule`, and pictures that need not be enlarged."""
        if rule.span > self.rule.span or rule.fps > self.rule.fps:
            packed = self.rule
            raise BadShards(
                f"these shards were packed for clips of {packed.frames} frames at {packed.fps:g} a second "
                f"({packed.span:.2f} s); for {rule.frames} at {rule.fps:g} ({rule.span:.2f} s) pack anew"
            )
        if width > self.width or height > self.height:
            raise BadShards(
                f"these shards hold pictures of at least {self.width}x{self.height}; for {width}x{height} "
                "pack anew"
            )

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1) + "\n"
        write_atomically(folder / INDEX, lambda path: _put(path, text))


def read_index(folder: Path) -> ShardIndex:
    """The folder's shards.json; raises BadShards unless it is one and every shard is there."""
    path = folder / INDEX
    try:
        raw = json.loads(path.read_text())
        index = ShardIndex(
            ClipRule(**raw["rule"]),
            raw["width"],
            raw["height"],
            tuple(Shard(**each | {"left_out": tuple(each.get("left_out", ()))}) for each in raw["shards"]),
        )
    except FileNotFoundError as error:
        raise BadShards(
            f"there is no {path}: pack videos with python -m models.training.scale.pack, or have shards of "
            "another maker looked through by python -m models.training.scale.survey"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadShards(f"{path} is not an index of shards: {error}") from error
    if not index.shards:
        raise BadShards(f"{path} lists no shard")
    for shard in index.shards:
        if not (folder / shard.file).is_file():
            raise BadShards(f"{path} lists {shard.file}, which is not there")
    return index


def write_shards(
    folder: Path, clips: Iterable[Captioned], clips_per_shard: int
) -> Iterator[tuple[Shard, list[str]]]:
    """Write the clips in this order; yields each finished shard and the keys in it.

    The same clips make the same bytes: names, times and owners in the tar are fixed.
    """
    pending: list[tuple[str, Captioned]] = []
    written = 0
    for number, clip in enumerate(clips):
        pending.append((f"{number:09d}", clip))
        if len(pending) == clips_per_shard:
            yield _write_shard(folder, written, pending)
            written, pending = written + 1, []
    if pending:
        yield _write_shard(folder, written, pending)


def _write_shard(folder: Path, number: int, clips: list[tuple[str, Captioned]]) -> tuple[Shard, list[str]]:
    path = folder / f"{number:06d}.tar"

    def write(partial: Path) -> None:
        with partial.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=0) as tar:
            for key, clip in clips:
                origin = json.dumps({"origin": clip.origin}).encode()
                tar.write({"__key__": key, "mp4": clip.mp4, "txt": clip.caption.encode(), "json": origin})

    write_atomically(path, write)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(path.name, len(clips), sha256), [key for key, _ in clips]


@dataclass(frozen=True)
class Stream:
    """One process's endless stream of clips."""

    folder: Path
    index: ShardIndex
    seed: int
    process: int
    processes: int

    def row(self) -> Iterator[Shard]:
        """The shards of this process, pass after pass."""
        count = len(self.index.shards)
        place, order, drawn = self.process, np.empty(0, np.int64), -1
        while True:
            if place // count != drawn:
                drawn = place // count
                order = np.random.default_rng((self.seed, drawn)).permutation(count)
            yield self.index.shards[order[place % count]]
            place += self.processes

    def clips(self, position: int) -> Iterator[Captioned]:
        """The clips from this position on; shards before it are not opened. Raises BadShards."""
        for shard in self.row():
            if position >= shard.clips:
                position -= shard.clips
                continue
            yield from self._from_shard(shard, position)
            position = 0

    def _from_shard(self, shard: Shard, skipped: int) -> Iterator[Captioned]:
        path, seen = self.folder / shard.file, skipped
        try:
            with opened(path) as content:
                left_out = set(shard.left_out)
                used = [clip for number, clip in enumerate(content.clips) if number not in left_out]
                for sample in used[skipped : shard.clips]:
                    yield _captioned(shard.file, sample)
                    seen += 1
        except Unfit as unfit:
            raise BadShards(f"{path} does not read behind clip {seen}: {unfit}") from unfit
        if len(used) != shard.clips:
            raise BadShards(f"{path} holds {len(used)} clips, {INDEX} says {shard.clips}")


def _captioned(shard: str, sample: Sample) -> Captioned:
    origin = sample.words.get("origin", sample.key)
    return Captioned(sample.mp4, sample.caption, f"{shard}: {origin}")


def _put(path: Path, text: str) -> None:
    path.write_text(text)
