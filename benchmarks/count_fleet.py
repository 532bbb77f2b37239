"""What a film of the Stable-Diffusion-size model takes of a GPU, by size: memory and work, counted on none.

python -m benchmarks.count_fleet              # prints the table of docs/sizing.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmarks.count_memory import AUTOENCODER, weights
from benchmarks.count_network import flops
from models.memory import count_activations
from models.memory_need import MemoryNeed
from models.spec import SD21
from worker.device.accelerator import DeviceMemory
from worker.device.plan import MemoryPlan, gib

FRAMES = 16
#: In each stage, each with a pass for the prompt and one for the negative prompt.
STEPS, PASSES = 25, 2
BATCHES = (1, 2, 4)
SPEEDS = (50, 100, 200)  # TFLOP/s
BUSY = 0.7


def card_gib(size: tuple[int, int], batch: int) -> float:
    """What a worker asks of its card if `size` is the largest that it serves; frames decoded one by one."""
    activations = count_activations(SD21, AUTOENCODER, torch.float16, torch.float16, size=size, frames=FRAMES)
    need = MemoryNeed(SD21.name, weights(), activations)
    return gib(MemoryPlan(need, DeviceMemory(0, is_host=False), batch, 1).total)


def film_tflop(side: int) -> float:
    """Both stages' networks; text encoder and autoencoder, a tenth of the time or less, are not in it."""
    one = flops(SD21, FRAMES, side // SD21.vae_factor)
    picture, video = one.flat / FRAMES, one.main + one.fusion + one.appearnet
    return STEPS * PASSES * (picture + video) / 1e12


def table(sizes: Sequence[tuple[int, int]] = SD21.sizes) -> Iterator[str]:
    """The Markdown table, line by line; only the sizes asked for."""
    batches = ", ".join(map(str, BATCHES))
    speeds = ", ".join(map(str, SPEEDS))
    yield (
        f"| pixels | card, GiB, for {batches} at a time | TFLOP a film | seconds at {speeds} TFLOP/s "
        f"| films an hour at {SPEEDS[1]} |"
    )
    yield "|---|---|---|---|---|"
    for size in sizes:
        work = film_tflop(size[0])
        card = ", ".join(f"{card_gib(size, batch):.1f}" for batch in BATCHES)
        seconds = ", ".join(f"{work / speed:.1f}" for speed in SPEEDS)
        hourly = BUSY * 3600 / (work / SPEEDS[1])
        yield f"| {size[0]}x{size[1]} | {card} | {work:.0f} | {seconds} | {hourly:.0f} |"


if __name__ == "__main__":
    print("\n".join(table()))
