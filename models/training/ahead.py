"""Batches made while the device works on the one before.

A batch is a function of its step number alone, so whether it is made early, late or twice changes nothing.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

MAKERS = 4  # threads; drawing and noising a batch of 64 takes one of them some 30 ms


class Ahead(Generic[T]):
    """`batch_of(step)`, begun `depth` steps before it is asked for; depth 0 makes it when asked.

    An error in `batch_of` is raised where its batch is asked for.
    """

    def __init__(self, batch_of: Callable[[int], T], depth: int) -> None:
        self._batch_of, self._depth = batch_of, depth
        self._begun: dict[int, Future[T]] = {}
        self._makers = ThreadPoolExecutor(MAKERS, "batch") if depth else None

    @classmethod
    def beside(cls, device: torch.device, batch_of: Callable[[int], T]) -> "Ahead[T]":
        """Threads beside a GPU, which leaves the CPU free; none where the CPU does the work itself."""
        return cls(batch_of, 2 * MAKERS if device.type == "cuda" else 0)

    def __call__(self, step: int) -> T:
        """The batch of `step`. Steps are best asked for in order."""
        if self._makers is None:
            return self._batch_of(step)
        self._begun = {number: begun for number, begun in self._begun.items() if number >= step}
        for number in range(step, step + self._depth):
            if number not in self._begun:
                self._begun[number] = self._makers.submit(self._batch_of, number)
        return self._begun.pop(step).result()
