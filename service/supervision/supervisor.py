"""Keep a few child processes alive: start them in order, show their output, restart the fallen, end them all.

This module knows processes and nothing else: `service.stack.plan` and `worker.host` say which there are.
Everything happens in the one thread that calls `Supervisor.run`. That is on purpose: the kernel ties a
parent-death signal to the thread that started the child, and one loop has no locks to get wrong.
"""

import contextlib
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.supervision.child_process import Child, ChildProcess, in_words

TICK_S = 0.1


@dataclass(frozen=True)
class RestartPolicy:
    """How long to wait before another start, in seconds, and when to call it hopeless.

    The wait doubles with every fall in a row, from `first_s` up to `longest_s`, and is longer or shorter by
    up to the part `jitter` of it (0 to 1), so that those who fell together do not come back together. A
    child that was ready for `steady_s` begins a new row. More than `falls_allowed` falls in a row give it
    up; so does one exit with code 78 (EX_CONFIG of sysexits.h), since settings do not mend themselves. That
    ends the whole run or, where `others_go_on`, once all are given up. Then those left have
    `crash_patience_s` to finish what they hold before they are told to give it back.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    steady_s: float = 30.0
    falls_allowed: int = 5
    crash_patience_s: float = 10.0
    jitter: float = 0.0
    others_go_on: bool = False

    def wait_s(self, falls: int, chance: float = 0.5) -> float:
        """Seconds before the next start after `falls` (>= 1) falls in a row; `chance` is within 0 to 1."""
        wait_s = min(self.longest_s, self.first_s * 2.0 ** (falls - 1))
        return wait_s * (1.0 + self.jitter * (2.0 * chance - 1.0))


@dataclass
class _Place:
    """Where a child stands: its process if there is one, else when to start it again."""

    child: Child
    process: ChildProcess | None = None
    ready: bool = False
    ready_at: float = 0.0
    falls: int = 0
    start_at: float = 0.0
    given_up: bool = False


class Supervisor:
    """Runs `children` until `stop` is called or one of them falls too often.

    `show(name, line)` gets every line that a child prints, and the supervisor's own under "supervisor".
    `on_ready` is called once, when every child has been ready for the first time, `on_turn` at each turn of
    the loop, ten times a second at least. `chance` gives numbers within 0 to 1 for the jitter. `crash` is the
    reason for an end that nobody asked for; `endings` has, by name, the exit codes of those that ended for
    good, `restarts` how often each was started again.
    Raises ValueError for two children of one name, or a need that no earlier child meets.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        show: Callable[[str, str], None],
        on_ready: Callable[[], None],
        on_turn: Callable[[], None] = lambda: None,
        policy: RestartPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        _check_order(children)
        self.crash: str | None = None
        self.endings: dict[str, int] = {}
        self.restarts = {child.name: 0 for child in children}
        self._show = show
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._announced = False
        self._policy = policy or RestartPolicy()
        self._clock = clock
        self._chance = chance
        self._stops_asked = 0
        self._places = [_Place(child) for child in children]
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def stop(self) -> None:
        """Ask for the end; safe in a signal handler and from any thread.

        The first call sends SIGTERM (finish what you hold), a second sends it again (a GPU worker then
        gives its job back), a third kills.
        """
        self._stops_asked += 1
        with contextlib.suppress(OSError):  # a full buffer means that it wakes up anyway
            self._wake_writer.send(b"!")

    def run(self) -> int:
        """Block until it is over and no child is left: 0 when asked to stop, 1 after a crash loop."""
        try:
            while not self._stops_asked and self.crash is None:
                self._start_due()
                self._read_output()
                self._notice_falls()
                self._ask_readiness()
                self._on_turn()
        finally:
            self._end_all()
            self._selector.close()
            self._wake_reader.close()
            self._wake_writer.close()
        return 0 if self.crash is None else 1

    def pids(self) -> dict[str, int]:
        """Process ids of the children that are alive, by name."""
        return {place.child.name: place.process.pid for place in self._places if place.process}

    def _start_due(self) -> None:
        ready = {place.child.name for place in self._places if place.ready}
        for place in self._places:
            due = place.process is None and not place.given_up and self._clock() >= place.start_at
            if not due or not ready.issuperset(place.child.needs):
                continue
            try:
                self.restarts[place.child.name] += place.falls > 0
                place.process = ChildProcess(place.child, self._clock())
            except OSError as error:
                self._fall(place, f"could not start: {error}", 1)
                continue
            self._selector.register(place.process.output_fd, selectors.EVENT_READ, place)

    def _read_output(self) -> None:
        for key, _ in self._selector.select(TICK_S):
            place: _Place | None = key.data
            if place is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_reader.recv(64)
            elif place.process is not None:
                lines, more = place.process.read()
                self._show_all(place, lines)
                if not more:
                    self._selector.unregister(key.fd)

    def _notice_falls(self) -> None:
        for place in self._places:
            if place.process is None or (code := place.process.exit_code()) is None:
                continue
            if place.ready and self._clock() - place.ready_at >= self._policy.steady_s:
                place.falls = 0
            self._bury(place)
            if code == os.EX_CONFIG:
                reason = f"{place.child.name} says that its settings are unusable ({in_words(code)})"
                self._give_up(place, reason, code)
            else:
                self._fall(place, in_words(code), code)

    def _fall(self, place: _Place, ending: str, code: int) -> None:
        place.falls += 1
        if place.falls > self._policy.falls_allowed:
            reason = f"{place.child.name} fell {place.falls} times in a row (last: {ending})"
            self._give_up(place, reason, code)
            return
        wait_s = self._policy.wait_s(place.falls, self._chance())
        place.start_at = self._clock() + wait_s
        self._say("supervisor", f"{place.child.name} ended ({ending}); next start in {wait_s:.3g} s")

    def _give_up(self, place: _Place, reason: str, code: int) -> None:
        place.given_up = True
        self.endings[place.child.name] = code
        if self._policy.others_go_on and not all(each.given_up for each in self._places):
            self._say("supervisor", f"{reason}; given up, the others go on")
            return
        self.crash = reason
        self._say("supervisor", f"{reason}; giving up")

    def _bury(self, place: _Place) -> None:
        """Forget an ended process, after showing its last words."""
        assert place.process is not None
        with contextlib.suppress(KeyError):  # unregistered at the end of its output
            self._selector.unregister(place.process.output_fd)
        self._show_all(place, place.process.last_words())
        place.process.end_group()
        place.process = None
        place.ready = False

    def _ask_readiness(self) -> None:
        for place in self._places:
            if place.process is not None and not place.ready:
                place.ready, place.ready_at = place.child.is_ready(), self._clock()
        if not self._announced and all(place.ready for place in self._places):
            self._announced = True
            self._on_ready()

    def _end_all(self) -> None:
        """SIGTERM from the dependants inwards, SIGKILL after the grace; returns when all are gone.

        After a crash they are asked again before the grace is over: a worker that waits to tell the record,
        which will not come back, would otherwise wait that long.
        """
        again_at = self._clock() + self._policy.crash_patience_s
        while alive := [place for place in self._places if place.process is not None]:
            needed = {name for place in alive for name in place.child.needs}
            insisting = 2 if self.crash is not None and self._clock() >= again_at else 0
            for place in alive:
                if place.process is not None and place.child.name not in needed:
                    place.process.press(self._clock(), max(self._stops_asked, insisting))
            self._read_output()
            self._on_turn()
            for place in alive:
                if place.process is not None and (code := place.process.exit_code()) is not None:
                    # One that had not come round to listening to SIGTERM held nothing, and ended by it.
                    self.endings[place.child.name] = 0 if code == -signal.SIGTERM else code
                    self._bury(place)

    def _show_all(self, place: _Place, lines: Sequence[str]) -> None:
        for line in lines:
            self._say(place.child.name, line)

    def _say(self, name: str, line: str) -> None:
        # A reader that went away (`up | head`) must not cost the children their orderly end.
        with contextlib.suppress(BrokenPipeError):
            self._show(name, line)


def _check_order(children: Sequence[Child]) -> None:
    known: set[str] = set()
    for child in children:
        if child.name in known:
            raise ValueError(f"two children are named {child.name!r}")
        if unmet := set(child.needs) - known:
            raise ValueError(f"child {child.name!r} needs {sorted(unmet)}, which no earlier child is")
        known.add(child.name)
