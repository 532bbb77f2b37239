"""The training clips: scenes from a seed, their latents computed once.

    python -m models.training.video_set --config models/training/video_set.toml --work var/train

Pixels are never stored: a scene renders in 2 ms. Latents are scaled (unit standard deviation) and
kept as float16 (N, F, C, h, w) in `latents.npy`; encoding goes on where it was killed.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from models.precision import choose_device
from models.training.ahead import Ahead
from models.training.captions import draw_scenes, other_look, training_caption
from models.training.config import table
from models.training.world import Scene, render

CLIPS_AT_ONCE = {"cpu": 4, "cuda": 50}


@dataclass(frozen=True)
class ClipSet:
    """How many clips, how long, how large, from which seed."""

    clips: int
    frames: int
    size: int
    seed: int
    threads: int = 2


class VideoSet:
    """Scenes and their latents, drawn by number."""

    def __init__(self, clip_set: ClipSet, latents: NDArray[np.float16]) -> None:
        if len(latents) != clip_set.clips:
            raise ValueError(f"clips is {clip_set.clips} but {len(latents)} latents are stored")
        self.latents = latents
        self.scenes: list[Scene] = draw_scenes(clip_set.clips, clip_set.seed, "train")
        self._rotating = np.array([scene.motion == "rotating" for scene in self.scenes])

    @classmethod
    def load(cls, config: Path, work: Path) -> "VideoSet":
        """The finished set under `work`."""
        return cls(table(config, "clips", ClipSet), np.load(work / "latents.npy", mmap_mode="r"))

    def draw(self, rng: np.random.Generator, count: int, rotating_weight: float) -> NDArray[np.int64]:
        """`count` clip numbers, with replacement; a rotating clip comes rotating_weight times as often.

        A turn moves few pixels, and only three shapes show it: drawn evenly, it was the last thing learned.
        """
        weights = np.where(self._rotating, rotating_weight, 1.0)
        return rng.choice(len(self.scenes), size=count, p=weights / weights.sum())

    def clips(self, numbers: NDArray[np.int64]) -> Tensor:
        """Scaled latents float32 (B, F, C, h, w)."""
        return torch.from_numpy(np.stack([self.latents[number] for number in numbers])).float()

    def frames(self, numbers: NDArray[np.int64], frames: NDArray[np.int64]) -> Tensor:
        """Scaled latents of one frame per clip, float32 (B, C, h, w)."""
        stored = np.stack([self.latents[n, f] for n, f in zip(numbers, frames, strict=True)])
        return torch.from_numpy(stored).float()

    def captions(
        self, numbers: NDArray[np.int64], rng: np.random.Generator, dropped: float, contrary: float = 0.0
    ) -> list[str]:
        """One caption per clip; empty with probability `dropped` (classifier-free guidance).

        contrary: the share that names another colour and background than the clip has.
        """
        captions = []
        for number in numbers:
            scene = self.scenes[number]
            told = other_look(scene, rng) if contrary and rng.random() < contrary else scene
            captions.append("" if rng.random() < dropped else training_caption(told, rng))
        return captions


@torch.no_grad()
def encode(vae: AutoencoderKL, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Clips (N, F, H, W, 3) -> scaled latents (N, F, C, h, w): the posterior's mode times the factor."""
    together = torch.from_numpy(clips).to(vae.device).flatten(0, 1)
    pixels = together.permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = (
        vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
        * vae.config.scaling_factor
    )
    stored: NDArray[np.float16] = latents.unflatten(0, clips.shape[:2]).half().cpu().numpy()
    return stored


def rendered(scenes: list[Scene], clip_set: ClipSet) -> NDArray[np.uint8]:
    """The clips of these scenes, (N, F, H, W, 3)."""
    return np.stack([render(scene, clip_set.frames, clip_set.size) for scene in scenes])


def build(config: Path, work: Path) -> Path:
    """Encode every clip into `work/latents.npy`; returns at once when it is complete."""
    finished, partial, count_file = work / "latents.npy", work / "latents.partial.npy", work / "latents.count"
    if finished.exists():
        return finished
    clip_set = table(config, "clips", ClipSet)
    torch.set_num_threads(clip_set.threads)
    device = choose_device()
    vae = AutoencoderKL.from_pretrained(work / "vae").eval().to(device, memory_format=torch.channels_last)
    count = CLIPS_AT_ONCE[device.type]
    scenes = draw_scenes(clip_set.clips, clip_set.seed, "train")
    edge = clip_set.size // 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (clip_set.clips, clip_set.frames, vae.config.latent_channels, edge, edge)
    done = int(count_file.read_text()) if count_file.exists() and partial.exists() else 0
    latents = np.lib.format.open_memmap(partial, mode="r+" if done else "w+", dtype=np.float16, shape=shape)
    started, first = time.monotonic(), done
    clips_of = Ahead.beside(device, lambda part: rendered(scenes[first + part * count :][:count], clip_set))
    while done < clip_set.clips:
        encoded = encode(vae, clips_of((done - first) // count))
        latents[done : done + len(encoded)] = encoded
        done += len(encoded)
        if done % 100 == 0:
            latents.flush()
            count_file.write_text(str(done))
            speed = (done - first) / (time.monotonic() - started)
            left = (clip_set.clips - done) / speed / 60
            print(f"latents: {done}/{clip_set.clips} {speed:.1f} clips/s {left:.1f} min left", flush=True)
    latents.flush()
    partial.replace(finished)
    count_file.unlink(missing_ok=True)
    return finished


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Render and encode the training clips.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("video_set.toml"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    build(options.config, options.work)


if __name__ == "__main__":
    main()
