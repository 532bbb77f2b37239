"""What a worker asks of a model: two stages that yield after each step, and a decoder that yields frames.

`models.cinema.Cinema` is MicroCinema, `models.stages.Stages` is put together from other folders; tests
pass a small one of their own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.orders import PictureOrder, Progress, VideoOrder
from models.origin import Origin
from models.spec import CinemaSpec
from models.thrift import Thrift
from models.video_families import RenderSpec

if TYPE_CHECKING:
    from torch import Tensor

Picture = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)

Work = Generator[Progress, None, Made]
"""A stage at work: yields each finished step, returns what it made; closing it cancels it."""


class OnePerOrder(Protocol[Made_co]):
    """What a stage returns: one product per order, in order (a list, or the first axis of a tensor)."""

    def __getitem__(self, index: int, /) -> Made_co:
        """The product for order `index`."""
        ...


class Renderer(Protocol):
    """A loaded model.

    All orders of one call share size, frames, steps, sampler and whether there is guidance (a scale above 1).
    """

    @property
    def spec(self) -> CinemaSpec | RenderSpec:
        """Sizes, frames, abilities and defaults."""
        ...

    @property
    def weight_hash(self) -> str:
        """Names the exact weights."""
        ...

    @property
    def origins(self) -> tuple[Origin | None, Origin]:
        """Weights and number formats of stage 1 (None: the model paints no pictures) and of stage 2."""
        ...

    def economise(self, thrift: Thrift) -> None:
        """Be as sparing with memory as this, from the next stage on; what is made stays the same."""
        ...

    def warm_up(self) -> None:
        """Run every network once, so that the first job does not pay for it."""
        ...

    def paint(self, orders: Sequence[PictureOrder]) -> Work[list[Picture]]:
        """Stage 1, text to image: one picture per order. Never asked of a model whose abilities lack it."""
        ...

    def animate(
        self, orders: Sequence[VideoOrder], keyframes: Sequence[Picture]
    ) -> Work[OnePerOrder[Tensor]]:
        """Stage 2, image to video, or the only stage, text to video: then `keyframes` is empty.

        One product per order, for `decode` alone to read: latents (F, C, h, w), or frames that the pipeline
        decoded itself. Raises models.errors.NonFinite.
        """
        ...

    def decode(self, latents: Tensor) -> Iterator[Picture]:
        """What `animate` made for one order -> its frames, one by one."""
        ...
