"""Real processes under test: started with a log file each, ended by pid, killable at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.supervision.ports import free_ports as free_ports  # what the product itself takes

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll `condition`, at first often; fail with `what` after `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.002
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


@dataclass
class Running:
    """One child process; `log` is its whole output."""

    name: str
    argv: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> Running:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv, env={**os.environ, **self.environment}, stdout=out, stderr=out, cwd=ROOT
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: the process gets no last word."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = 60) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def end(self, seconds: float = 20) -> None:
        """SIGTERM, then SIGKILL; nothing if it is gone already."""
        if not self.alive():
            return
        self.terminate()
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def python_module(module: str, environment: Mapping[str, str], folder: Path, name: str) -> Running:
    """`python -m module`, the way an operator starts a part of the service."""
    return Running(name, [sys.executable, "-m", module], environment, folder / f"{name}.log")
