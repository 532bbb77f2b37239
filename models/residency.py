"""Which networks are on the device now, for a card that cannot hold them all beside a large video."""

from __future__ import annotations

from typing import Protocol

from torch import device

HOST = device("cpu")


class Movable(Protocol):
    """A torch module, or a diffusers pipeline: all of it goes to the device, in place."""

    def to(self, where: device, /) -> object:
        """Raises torch.OutOfMemoryError if there is no room."""
        ...


class Residency:
    """Moves whole networks between the device and host memory, at the borders of stages only.

    Networks that share tensors must not be given here: moving one would tear them apart and store the
    weights twice. Every stage asks before it runs, so a move that failed for want of memory is made up for
    by the next one that succeeds.
    """

    def __init__(self, home: device, *movable: Movable) -> None:
        self._home, self._movable = home, movable
        self._away: list[Movable] = []
        self.park_idle = False

    def only(self, *needed: Movable) -> None:
        """Have `needed` on the device; the others wait on the host while `park_idle` is set.

        What is not needed leaves first, so that the memory of both is never held at once.
        """
        if self.park_idle:
            for network in self._movable:
                if not _among(network, needed) and not _among(network, self._away):
                    self._away.append(network)
                    network.to(HOST)
        for network in list(self._away):
            if _among(network, needed) or not self.park_idle:
                network.to(self._home)
                self._away = [other for other in self._away if other is not network]


def _among(network: Movable, others: tuple[Movable, ...] | list[Movable]) -> bool:
    return any(network is other for other in others)
