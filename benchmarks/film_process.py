"""The processes that benchmarks.render starts, and ends again whatever happens."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

WaitPolicy = Literal["passive", "default"]
LONGEST_ANSWER_S = 300.0


class NoAnswer(RuntimeError):
    """The filming process ended, or was silent for so long that it was ended."""


class FilmProcess:
    """A warm `benchmarks.filming` process. wait_policy: OpenMP's; "default" leaves the variable unset."""

    def __init__(self, wait_policy: WaitPolicy, longest_answer_s: float = LONGEST_ANSWER_S) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        if wait_policy == "passive":
            environment["OMP_WAIT_POLICY"] = "passive"
        self._longest_answer_s = longest_answer_s
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.filming"],
            env=environment | {"HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def started(self) -> int:
        """Wait until it is warm; returns its number of threads."""
        return int(self._answer()["threads"])

    def film(self, count: int) -> tuple[float, float]:
        """Make `count` films as one batch: seconds for all of them, and peak RSS so far in bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["seconds"], answer["peak_rss_bytes"]

    def end(self) -> None:
        """End the process; it may have ended already."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        too_long = threading.Timer(self._longest_answer_s, self._process.kill)
        too_long.start()
        try:
            line = self._process.stdout.readline()
        finally:
            too_long.cancel()
        if not line:
            raise NoAnswer(f"no answer from the filming process within {self._longest_answer_s:g} s")
        answer: dict[str, float] = json.loads(line)
        return answer


@contextmanager
def film_processes(*policies: WaitPolicy) -> Iterator[dict[WaitPolicy, FilmProcess]]:
    """One warm process per wait policy."""
    with ExitStack() as held:
        processes = {}
        for policy in policies:
            processes[policy] = FilmProcess(policy)
            held.callback(processes[policy].end)
        yield processes


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """`count` processes that each keep one core busy."""
    spinning = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as held:
        for _ in range(count):
            neighbour = subprocess.Popen(spinning)
            held.callback(neighbour.wait)
            held.callback(neighbour.kill)
        yield
