"""From a function that calls back at every step to a generator that yields every step.

Our own stages are generators: they stop at each step, and closing one cancels it. A diffusers pipeline is one
long call. Here it runs in a thread of its own, one of the two always waiting for the other: between two steps
the thread stands still, so the caller may look at clocks and cancellations, and close.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.orders import Look, Progress
from models.pipeline_look import PipelineLook

T = TypeVar("T")

Tell = Callable[[], None]
"""Called by the work after each finished step; returns when the next one may begin."""


class _Closed(BaseException):
    """Unwinds work that was called off. No `Exception`, so that no pipeline takes it for one of its own."""


@dataclass(frozen=True)
class _Returned(Generic[T]):
    value: T


@dataclass(frozen=True)
class _Raised:
    error: BaseException


def stepwise(work: Callable[[Tell], T], steps: int, look: Look | None = None) -> Generator[Progress, None, T]:
    """Run `work` in a thread; yields a Progress, with this `look`, for each call of its `Tell`.

    Returns what `work` returns and raises what it raises, with its type and traceback. When the generator is
    closed, the waiting call raises inside `work`: not one step more is computed. The thread has ended before
    the generator has, however it ends.
    """
    heard: SimpleQueue[_Returned[T] | _Raised | None] = SimpleQueue()
    go_on = threading.Semaphore(0)
    closed = threading.Event()

    def tell() -> None:
        if not closed.is_set():  # work that calls back while it is being unwound has nobody to wait for
            heard.put(None)
            go_on.acquire()
        if closed.is_set():
            raise _Closed

    def run() -> None:
        try:
            heard.put(_Returned(work(tell)))
        except _Closed:
            return
        except BaseException as error:  # noqa: BLE001 - carried over to the caller, who judges it
            heard.put(_Raised(error))

    thread = threading.Thread(target=run, name="pipeline", daemon=True)
    thread.start()
    done = 0
    try:
        while True:
            message = heard.get()
            if isinstance(message, _Returned):
                return message.value
            if isinstance(message, _Raised):
                try:
                    raise message.error
                finally:
                    del message  # a frame that holds its own exception keeps every tensor in it alive
            done += 1
            yield Progress(min(done, steps), steps, look=look)
            go_on.release()
    finally:
        closed.set()
        go_on.release()
        thread.join()


def in_turn(
    works: Sequence[Callable[[], Generator[Progress, None, T]]], steps: int
) -> Generator[Progress, None, list[T]]:
    """Several pieces of work of one order and `steps` steps each, one after the other, as one."""
    made: list[T] = []
    for index, begin in enumerate(works):
        with closing(begin()) as work:
            while True:
                try:
                    progress = next(work)
                except StopIteration as end:
                    made.append(end.value)
                    break
                look = progress.look and partial(_at_work, progress.look, index)
                yield Progress(index * steps + progress.step, len(works) * steps, look=look)
    return made


def _at_work(look: Look, at_work: int, row: int) -> NDArray[np.uint8] | None:
    """Of the others there is nothing to see: they have not begun, or are done."""
    return look(0) if row == at_work else None


def result_of(work: Generator[Progress, None, T]) -> T:
    """Run a stage to its end and take what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: T = end.value
            return made


class StepBar:
    """Stands in for a pipeline's progress bar: the one hook that every pipeline of diffusers has.

    Not all of them take `callback_on_step_end` (I2VGen-XL, ModelScope and PixArt do not), and where the
    scheduler evaluates the network more often than it was asked for steps (PNDM, Heun), only the bar counts
    steps as the client does.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def __call__(self, iterable: object = None, total: int | None = None) -> Self:  # noqa: ARG002 - tqdm's
        """What `pipeline.progress_bar(total=steps)` gives."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, n: int = 1) -> None:  # noqa: ARG002 - tqdm's
        """A step is finished."""
        self._tell()


def pipeline_steps(
    pipeline: Any, call: Callable[[], T], steps: int, width: int, height: int
) -> Generator[Progress, None, T]:
    """Run `call`, which calls `pipeline` once for `steps` steps at this size, as `stepwise` does."""
    seen = PipelineLook(pipeline)

    def work(tell: Tell) -> T:
        pipeline.progress_bar = StepBar(tell)
        with seen.during():
            return call()

    def look(_row: int) -> NDArray[np.uint8] | None:
        return seen.look(width, height)

    return stepwise(work, steps, look if seen.sees else None)
