"""Where the clips of a training come from: shards of videos, or the stored latents of the procedural world.

A batch is a function of the seed, the process and the batch's number, nothing else. So a run goes on exactly
where it stopped, and how many processes load the clips changes the speed alone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from models.spec import Vocabulary
from models.training.objective import Objective
from models.training.scale.clip_times import Unfit, clip_frames
from models.training.scale.footage import Frames, frame_times, read_frames
from models.training.scale.plan import Clips
from models.training.scale.shards import BadShards, Captioned, ShardIndex, Stream, read_index
from models.training.video_set import VideoSet
from models.training.words import training_vocabulary


@dataclass(frozen=True)
class Batch:
    """B clips and their captions: pixels uint8 (B, F, H, W, 3), or scaled latents float32 (B, F, C, h, w)."""

    clips: Frames | Tensor
    captions: list[str]


class ClipSource(Protocol):
    """`digest` names the clips and their order; `vocabulary` is that of the captions, if it is known."""

    @property
    def digest(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary | None: ...

    def batches(self, first: int, stride: int) -> Iterator[Batch]:
        """The batches with the numbers first, first + stride, ... without end."""
        ...


@dataclass(frozen=True)
class ShardClips:
    """Clips out of shards (`models.training.scale.pack`), of one process of several."""

    folder: Path
    index: ShardIndex
    clips: Clips
    batch: int
    seed: int
    process: int = 0
    processes: int = 1

    @classmethod
    def open(
        cls, folder: Path, clips: Clips, batch: int, seed: int, process: int, processes: int
    ) -> ShardClips:
        """Raises BadShards when the shards do not hold such clips."""
        index = read_index(folder)
        index.refuse(clips.rule, clips.width, clips.height)
        return cls(folder, index, clips, batch, seed, process, processes)

    @property
    def digest(self) -> str:
        return self.index.digest

    @property
    def vocabulary(self) -> None:
        return None

    def batches(self, first: int, stride: int) -> Iterator[Batch]:
        stream = Stream(self.folder, self.index, self.seed, self.process, self.processes)
        clips = stream.clips(first * self.batch)
        number = first
        while True:
            chosen = list(islice(clips, self.batch))
            frames = [self._frames(clip, number * self.batch + row) for row, clip in enumerate(chosen)]
            yield Batch(np.stack(frames), [clip.caption for clip in chosen])
            number += stride
            for _ in islice(clips, (stride - 1) * self.batch):
                pass

    def _frames(self, clip: Captioned, position: int) -> Frames:
        draw = np.random.default_rng((self.seed, self.process, position)).random()
        try:
            numbers = clip_frames(frame_times(clip.mp4), self.clips.rule, draw)
            return read_frames(clip.mp4, numbers, self.clips.width, self.clips.height)
        except Unfit as unfit:
            raise BadShards(f"{clip.origin}: {unfit}; pack these shards anew") from unfit


@dataclass(frozen=True)
class StoredClips:
    """Clips of the procedural world, whose latents were computed once (`models.training.video_set`)."""

    videos: VideoSet
    objective: Objective
    batch: int
    seed: int
    process: int = 0

    @property
    def digest(self) -> str:
        return f"{self.videos.latents.shape} latents of the procedural world"

    @property
    def vocabulary(self) -> Vocabulary:
        return training_vocabulary()

    def batches(self, first: int, stride: int) -> Iterator[Batch]:
        number = first
        while True:
            rng = np.random.default_rng((self.seed, self.process, number))
            chosen = self.videos.draw(rng, self.batch, self.objective.rotating_weight)
            captions = self.videos.captions(chosen, rng, 0.0, self.objective.contrary_share)
            yield Batch(self.videos.clips(chosen), captions)
            number += stride


class _Loaded(IterableDataset[Batch]):
    def __init__(self, source: ClipSource, first: int) -> None:
        self.source, self.first = source, first

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self.source.batches(self.first + number, stride)


def load(source: ClipSource, first: int, processes: int) -> Iterator[Batch]:
    """The batches from number `first` on, in order, made by `processes` processes (0: by this one)."""
    return iter(
        DataLoader(
            _Loaded(source, first),
            batch_size=None,
            num_workers=processes,
            multiprocessing_context="spawn" if processes else None,
            worker_init_fn=_stay,
        )
    )


def _stay(_worker: int) -> None:
    # Ctrl-C goes to the whole group; the trainer answers it, and its last step still needs clips.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
