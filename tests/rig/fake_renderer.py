"""A renderer without networks, which misbehaves on request."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from models.errors import CheckpointUnfit
from models.orders import PictureOrder, Progress, VideoOrder
from models.origin import Origin
from models.spec import NANO
from models.thrift import Thrift
from service.contracts.lifecycle import Stage

FAKE = dataclasses.replace(NANO, name="fake", sizes=((32, 16),), picture_steps=3, video_steps=6)
WEIGHTS = "feedfacefeedfacefeedface"

Moment = tuple[str, int]
"""A stage and the step of it that is about to finish (for "decode": the frame, from 1)."""


@dataclass
class FakeRenderer:
    """Paints flat colours that depend on the seed. `at` maps moments to what happens then.

    What is kept of a clip is its weights, seed and step in words. `sketch` and `sight`: what order i looks
    like behind a step of stage 1 and of stage 2, if anybody can see that.
    """

    at: dict[Moment, Callable[[], Any]] = field(default_factory=dict)
    painted: list[Sequence[PictureOrder]] = field(default_factory=list)
    animated: list[Sequence[VideoOrder]] = field(default_factory=list)
    keyframes: list[Any] = field(default_factory=list)
    stepped: list[Moment] = field(default_factory=list)
    sketch: Callable[[int, int], Any] | None = None
    sight: Callable[[int, int], Any] | None = None
    warm_ups: int = 0
    closed: int = 0
    thrifts: list[Thrift] = field(default_factory=list)
    spec: Any = FAKE
    weight_hash: str = WEIGHTS

    @property
    def origins(self) -> tuple[Origin, Origin]:
        origin = Origin(self.weight_hash, "float32")
        return origin, origin

    def economise(self, thrift: Thrift) -> None:
        self.thrifts.append(thrift)

    def warm_up(self) -> None:
        self.warm_ups += 1

    def paint(self, orders: Sequence[PictureOrder]) -> Iterator[Progress]:
        self.painted.append(orders)
        yield from self._steps(Stage.TEXT_TO_IMAGE, orders[0].steps)
        return [np.full((o.height, o.width, 3), o.seed % 200, np.uint8) for o in orders]

    def animate(self, orders: Sequence[VideoOrder], keyframes: Sequence[Any]) -> Iterator[Progress]:
        self.animated.append(orders)
        self.keyframes.extend(keyframes)

        def keep(step: int, row: int) -> bytes:
            return f"{self.weight_hash} {orders[row].seed} {step}".encode()

        done = 0
        if orders[0].after is not None:
            weights, seed, step = orders[0].after.decode().split()
            if (weights, int(seed)) != (self.weight_hash, orders[0].seed):
                raise CheckpointUnfit("its 'weight_hash' is not this run's")
            done = int(step)
        yield from self._steps(Stage.IMAGE_TO_VIDEO, orders[0].steps, done, keep)
        return np.stack([np.full((o.num_frames, 4, 4, 8), o.seed % 200, np.float32) for o in orders])

    def decode(self, latents: Any) -> Iterator[Any]:
        for index, latent in enumerate(latents, start=1):
            self._happen(("decode", index))
            yield np.full((16, 32, 3), int(latent[0, 0, 0]) + index, np.uint8)

    def _steps(self, stage: str, steps: int, done: int = 0, keep: Any = None) -> Iterator[Progress]:
        try:
            for step in range(done + 1, steps + 1):
                self._happen((stage, step))
                self.stepped.append((stage, step))
                look = self.sight if stage == Stage.IMAGE_TO_VIDEO else self.sketch
                yield Progress(step, steps, keep and partial(keep, step), look and partial(look, step))
        except GeneratorExit:
            self.closed += 1
            raise

    def _happen(self, moment: Moment) -> None:
        action = self.at.get(moment)
        if action is not None:
            action()
