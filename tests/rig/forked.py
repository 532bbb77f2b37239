"""The service's processes forked from one that has torch in memory already.

A suite that kills hundreds of workers would spend its time importing: this way a new one is ready in a
second. Each is a process of its own with the real `main`, and dies with the test that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Self

from rig.skewed_clock import preloaded_library

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class Forked:
    """`module.main(*arguments)` as a process; `log` is its whole output."""

    name: str
    module: str
    environment: Mapping[str, str]
    log: Path
    arguments: tuple[Any, ...] = ()
    process: ForkServerProcess | None = field(default=None, repr=False)

    def start(self) -> Self:
        process = fork_server().Process(
            target=_live, args=(self.module, self.arguments, dict(self.environment), self.log), daemon=True
        )
        process.start()
        self.process = process  # not before: without a pid it must not look alive to those who kill
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        assert self.process.pid, f"{self.name} has no process"  # a signal to 0 would go to all of us
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number for one that was killed."""
        return self.process.exitcode if self.process is not None else None

    def alive(self) -> bool:
        return self.process is not None and self.exit_code is None

    def send(self, number: signal.Signals) -> None:
        """A signal; nothing if the process is gone already."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def wait(self, seconds: float) -> int | None:
        """The exit code; one that takes longer is killed, and None."""
        assert self.process is not None, f"{self.name} was never started"
        self.process.join(seconds)
        code = self.exit_code
        self.end()
        return code

    def end(self) -> None:
        """SIGKILL, and wait: the suite has seen all that it wanted to see."""
        self.kill()
        if self.process is not None:
            self.process.join(10)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class ForkedModule(Forked):
    """One that a single thread looks after, with the moves of rig.processes.Running."""

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        super().kill()
        assert self.process is not None, f"{self.name} was never started"
        self.process.join(10)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)


def forked_module(module: str, environment: Mapping[str, str], folder: Path, name: str) -> ForkedModule:
    """`module.main()`, with everything imported already; the same call as rig.processes.python_module."""
    return ForkedModule(name, module, environment, folder / f"{name}.log")


@cache
def fork_server() -> ForkServerContext:
    """Imports once what every process needs. One OpenMP thread: a fork takes no others along."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    if library := preloaded_library():  # each fork may then be given a clock of its own
        own["LD_PRELOAD"] = library
    before = {name: os.environ.get(name) for name in own}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["rig.preloaded", "rig.ailing", "service.main", "service.notifier.main", "av"]
    )
    os.environ.update(own)  # the server is a new Python that knows nothing of this one's path
    try:
        forkserver.ensure_running()
    finally:
        for name, setting in before.items():
            if setting is None:
                del os.environ[name]
            else:
                os.environ[name] = setting
    return context


def _live(module: str, arguments: tuple[Any, ...], environment: dict[str, str], log: Path) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ.update(environment)
    try:
        code = int(importlib.import_module(module).main(*arguments))
    except SystemExit as end:
        code = int(end.code or 0)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
