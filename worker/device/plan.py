"""How a device's memory is shared out, before the weights go there (ADR 0008)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.memory_need import MemoryNeed
from models.thrift import Thrift
from worker.device.accelerator import DeviceMemory

GIB = 2**30

MAX_DECODE_CHUNK = 8
"""Longer chunks fill no GPU any better, and a cancelled job leaves between chunks only."""

# What the counts cannot see. On a GPU: context and libraries' workspaces. On a host: the process itself.
_RESERVE_GPU, _RESERVE_HOST = 3 * GIB // 2, GIB
# Of the activations: scratch inside kernels and the allocator's rounding and gaps.
_RESERVE_SHARE = 0.15


class DeviceTooSmall(Exception):
    """The model does not fit; the text has both numbers. Starting again will not help."""


@dataclass(frozen=True)
class MemoryPlan:
    """`batch` jobs at once and `decode_chunk` frames at once: what fits beside the weights."""

    need: MemoryNeed
    device: DeviceMemory
    batch: int
    decode_chunk: int

    @property
    def activations(self) -> int:
        """Peak bytes beside the weights, of whichever stage takes most; what cannot be counted is 0."""
        a, paint = self.need.activations, self.need.paint
        if a is None:
            return paint
        together = 1 if a.in_turn else self.batch
        return max(a.denoise * together, a.encode * together, a.decode * self.decode_chunk, paint)

    @property
    def work(self) -> int:
        """Floating-point operations of the longest piece between two signs of life, of either stage.

        The first step's sign comes behind the prompts. What cannot be counted is 0.
        """
        a = self.need.activations
        video = 0 if a is None else a.work * (1 if a.in_turn else max(self.batch, self.decode_chunk))
        return max(video, self.need.paint_work) + self.need.prompt_work

    @property
    def reserve(self) -> int:
        """Bytes kept for what the counts cannot see."""
        fixed = _RESERVE_HOST if self.device.is_host else _RESERVE_GPU
        return fixed + int(_RESERVE_SHARE * self.activations)

    @property
    def total(self) -> int:
        """Bytes that the device must have."""
        return self.need.weight_bytes + self.activations + self.reserve

    @property
    def fits(self) -> bool:
        return self.total <= self.device.total

    @property
    def thrift(self) -> Thrift:
        """How the model runs as long as all goes to plan."""
        return Thrift(decode_chunk=self.decode_chunk)

    def facts(self) -> Mapping[str, object]:
        """For one line of the log; sizes in GiB."""
        weights = {name: gib(size) for name, size in self.need.weights.items()}
        return {
            "model": self.need.name,
            "needed_gib": gib(self.total),
            "device_gib": gib(self.device.total),
            "weights_gib": gib(self.need.weight_bytes),
            "weights": weights,
            "activations_gib": None if self.need.activations is None else gib(self.activations),
            "largest": self._largest(),
            "reserve_gib": gib(self.reserve),
            "batch": self.batch,
            "decode_chunk": self.decode_chunk,
        }

    def sentence(self) -> str:
        """The whole sum in words, both numbers in it."""
        where = "this machine" if self.device.is_host else "the device"
        return (
            f"{self.need.name} needs {gib(self.total)} GiB of memory and {where} has "
            f"{gib(self.device.total)} GiB (weights {gib(self.need.weight_bytes)}, "
            f"activations {gib(self.activations)} for {self._largest()}, reserve {gib(self.reserve)})"
        )

    def _largest(self) -> str:
        a = self.need.activations
        if a is None:
            return "a public pipeline of a build whose activations cannot be counted"
        return f"{a.frames} frames at {a.width}x{a.height}, batch {self.batch}"


def plan_memory(need: MemoryNeed, device: DeviceMemory, max_batch: int) -> MemoryPlan:
    """The largest batch up to `max_batch` that fits, and as long a decode chunk as costs nothing more.

    A GPU decodes as many frames at once as take no more memory than denoising does. A host decodes one by
    one: there a chunk gains little, and the frames equal those of `models.cinema.Cinema` to the bit.
    Raises DeviceTooSmall if not even one job at a time fits.
    """
    for batch in range(max_batch, 0, -1):
        plan = MemoryPlan(need, device, batch, _decode_chunk(need, device, batch))
        if plan.fits:
            return plan
    raise DeviceTooSmall(
        f"{plan.sentence()}: take a larger device, or serve smaller sizes or fewer frames "
        "(cinema.json; of a public model MICROCINEMA_SIZES)"
    )


def _decode_chunk(need: MemoryNeed, device: DeviceMemory, batch: int) -> int:
    a = need.activations
    if a is None or a.in_turn or device.is_host:
        return 1
    free_of_charge = max(a.denoise * batch, a.encode * batch) // max(a.decode, 1)
    return max(1, min(free_of_charge, MAX_DECODE_CHUNK, a.frames))


def gib(size: int) -> float:
    """Bytes as GiB, to two places."""
    return round(size / GIB, 2)
