"""The leases this worker holds, kept alive by beats, and given up when the beats no longer get through.

The record's server grants a lease for `lease_s` seconds from each beat that it answers. From the moment
*before* that beat was sent until `lease_s` later by our own monotonic clock the lease is certainly ours;
after that it may belong to somebody else, so the worker fences itself without asking (Gray and Cheriton,
"Leases", 1989).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.store.errors import StoreUnavailable
from service.store.nouns import Beat
from worker.events import StoreUnreachable, Tell
from worker.rhythm import Rhythm
from worker.stops import Stop

Held = tuple[str, int]
"""A job id and the number of the attempt that holds it."""

SendBeat = Callable[[Sequence[Held]], Mapping[str, Beat]]
"""Renews the leases in the record; one answer per job id, or StoreUnavailable."""


@dataclass
class _Lease:
    sure_until: float
    answer: Beat = Beat.OK
    outlives: bool = False


class Leases:
    """Which attempts run here and whether they still may. Safe to use from any thread."""

    def __init__(self, lease_s: float, *, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s, self._tell, self._clock = lease_s, tell, clock
        self._leases: dict[Held, _Lease] = {}
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, held: Sequence[Held], since: float) -> Iterator[None]:
        """Keep the leases of `held` inside the block, and behind it those for which `keep` was called.

        `since`: the clock's time just before they were asked for.
        """
        with self._lock:
            self._leases.update({one: _Lease(since + self._lease_s) for one in held})
        try:
            yield
        finally:
            with self._lock:
                for one in held:
                    if one in self._leases and not self._leases[one].outlives:
                        del self._leases[one]

    def keep(self, held: Held) -> None:
        """Let this lease outlive its block; it is renewed until it is dropped."""
        with self._lock:
            if held in self._leases:
                self._leases[held].outlives = True

    def drop(self, held: Held) -> None:
        """Stop renewing a lease, at the end of its attempt. Dropping twice is fine."""
        with self._lock:
            self._leases.pop(held, None)

    @property
    def held(self) -> tuple[Held, ...]:
        """The attempts whose leases are renewed now."""
        with self._lock:
            return tuple(self._leases)

    def stop_for(self, held: Held) -> Stop | None:
        """Why this attempt must stop, or None while it may go on.

        Asks nobody: a look at memory and the clock.
        """
        with self._lock:
            lease = self._leases.get(held)
            now = self._clock()
        if lease is None or lease.answer is Beat.LOST:
            return Stop.LOST_TOLD
        if now >= lease.sure_until:
            return Stop.LOST_SILENT
        return Stop.CANCEL if lease.answer is Beat.CANCEL else None

    def beat(self, send: SendBeat) -> None:
        """Renew every lease once. A beat without an answer changes nothing but the time that is left."""
        held = self.held
        if not held:
            return
        sent_at = self._clock()
        try:
            answers = send(held)
        except StoreUnavailable as error:
            self._tell(StoreUnreachable("beat", str(error)))
            return
        with self._lock:
            for one in held:
                lease = self._leases.get(one)
                if lease is None:
                    continue
                answer = answers[one[0]]
                # Neither a loss nor a cancel is ever taken back for the same attempt.
                if lease.answer is not Beat.LOST and answer is not Beat.OK:
                    lease.answer = answer
                if answer is not Beat.LOST:
                    lease.sure_until = max(lease.sure_until, sent_at + self._lease_s)


class LeaseKeeper:
    """The thread that beats. It has a connection of its own, so a slow command elsewhere never delays it."""

    def __init__(self, leases: Leases, send: SendBeat, beat_s: float) -> None:
        self._rhythm = Rhythm("beat", beat_s, lambda: leases.beat(send))

    def start(self) -> None:
        """Begin to beat."""
        self._rhythm.start()

    def nudge(self) -> None:
        """Beat now: somebody says that a job was cancelled, and the record will tell."""
        self._rhythm.nudge()

    def stop(self) -> None:
        """Stop beating."""
        self._rhythm.stop()
