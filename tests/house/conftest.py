"""Small real child processes for the supervisor to look after."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import rig.processes

from service.supervision.child_process import Child
from service.supervision.supervisor import RestartPolicy, Supervisor


@dataclass
class Stage:
    """Runs a supervisor in a thread and remembers what it showed."""

    shown: list[tuple[str, str]] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, *children: Child, policy: RestartPolicy | None = None) -> Iterator[Supervisor]:
        supervisor = Supervisor(
            children,
            show=lambda name, line: self.shown.append((name, line)),
            on_ready=self.ready.set,
            policy=policy,
        )
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
            thread.join(60)
            assert not thread.is_alive()

    def lines(self, name: str) -> list[str]:
        return [line for shown, line in self.shown if shown == name]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def python_child() -> Callable[..., Child]:
    """A child that runs a piece of Python; ready at once unless told otherwise."""

    def make(name: str, code: str, **options: object) -> Child:
        plain = {"environment": {"PYTHONUNBUFFERED": "1"}, "is_ready": lambda: True}
        return Child(name=name, argv=(sys.executable, "-S", "-c", code), **{**plain, **options})

    return make


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Poll a condition for at most thirty seconds."""

    return partial(rig.processes.wait_until, seconds=30, what="the condition of the test")
