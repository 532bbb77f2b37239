"""The scaling rule of deploy/kubernetes/scaling, played against loads: KEDA, HPA and workers by the second.

Numbers and bounds are read from the ScaledObject itself. What Kubernetes does is modelled as documented: the
HPA takes the largest of the triggers' ceil(value / threshold), scales down by the highest wish within the
stabilisation window, and both ways by its policies; KEDA goes to none when nothing was active for a while.
Which worker goes is Kubernetes' choice: here it is the worst one, a busy worker if there is any.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SYNC_S = 15  # how often an HPA looks


@dataclass(frozen=True)
class Rule:
    """Seconds and numbers of workers, from a ScaledObject."""

    least: int
    most: int
    cooldown_s: int
    down_window_s: int
    up_per_minute: int
    down_per_minute: int
    seconds_per_worker: float

    @classmethod
    def of(cls, scaled: dict[str, Any]) -> Rule:
        spec = scaled["spec"]
        behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        (up,), (down,) = behaviour["scaleUp"]["policies"], behaviour["scaleDown"]["policies"]
        assert (up["type"], up["periodSeconds"]) == (down["type"], down["periodSeconds"]) == ("Pods", 60)
        first, second = (trigger["metadata"] for trigger in spec["triggers"])
        assert (first["threshold"], second["threshold"]) == ("1", "1")
        return cls(
            spec["minReplicaCount"],
            spec["maxReplicaCount"],
            spec["cooldownPeriod"],
            behaviour["scaleDown"]["stabilizationWindowSeconds"],
            up["value"],
            down["value"],
            float(first["query"].rsplit("/", 1)[1]),
        )

    def wish(self, running: int, backlog_s: float, ready: int) -> int:
        """Workers that the two triggers ask for."""
        by_work = math.ceil(running + backlog_s / self.seconds_per_worker)
        return min(max(by_work, min(ready + running, 1)), self.most)


@dataclass
class Job:
    """`left_s`: GPU seconds still to do; `losses`: GPU seconds that were done twice."""

    came: float
    left_s: float
    ended: float = math.inf
    lost_s: float = 0.0


@dataclass
class Worker:
    """`ready_at`: its model is warm. `gone_at`: told to go, and killed at this time."""

    ready_at: float
    job: Job | None = None
    gone_at: float = math.inf

    @property
    def going(self) -> bool:
        return self.gone_at < math.inf


@dataclass
class Fleet:
    """Cold start, grace (how long a worker that is told to go may finish its job) and loss of a hand-over."""

    rule: Rule
    cold_start_s: float
    grace_s: float
    lost_per_hand_over_s: float
    workers: list[Worker] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)
    #: (time, workers, waiting jobs, running jobs)
    seen: list[tuple[float, int, int, int]] = field(default_factory=list)
    handed_over: int = 0
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)
    _active_at: float = 0.0

    def play(self, jobs: Sequence[Job], until: float) -> None:
        """Second by second, from nothing, to `until`."""
        coming = deque(sorted(jobs, key=lambda job: job.came))
        for now in range(int(until)):
            while coming and coming[0].came <= now:
                self.waiting.append(coming.popleft())
            self._work(now)
            if now % SYNC_S == 0:
                self._scale(now)
                running = sum(worker.job is not None for worker in self.workers)
                self.seen.append((now, len(self.workers), len(self.waiting), running))

    def _work(self, now: int) -> None:
        for worker in list(self.workers):
            if worker.job is None and not worker.going and now >= worker.ready_at and self.waiting:
                worker.job = self.waiting.popleft()
            if worker.job is not None:
                worker.job.left_s -= 1
                if worker.job.left_s <= 0:
                    worker.job.ended, worker.job = now, None
                elif now >= worker.gone_at:  # kept behind its last step and handed on
                    worker.job.left_s += self.lost_per_hand_over_s
                    worker.job.lost_s += self.lost_per_hand_over_s
                    self.waiting.appendleft(worker.job)
                    worker.job = None
                    self.handed_over += 1
            if worker.going and worker.job is None:
                self.workers.remove(worker)

    def _scale(self, now: int) -> None:
        rule = self.rule
        running = sum(worker.job is not None for worker in self.workers)
        backlog = sum(job.left_s for job in self.waiting)
        if running or self.waiting:
            self._active_at = now
        wish = rule.wish(running, backlog, len(self.waiting))
        staying = [worker for worker in self.workers if not worker.going]
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - rule.down_window_s:
            self._wishes.popleft()
        while self._changes and self._changes[0][0] <= now - 60:
            self._changes.popleft()
        if wish > len(staying):
            already = sum(change for _, change in self._changes if change > 0)
            more = min(wish - len(staying), rule.up_per_minute - already)
            self.workers += [Worker(now + self.cold_start_s) for _ in range(max(0, more))]
            self._changes.append((now, max(0, more)))
            return
        if now - self._active_at >= rule.cooldown_s:
            fewer, floor = len(staying), rule.least
        else:
            already = -sum(change for _, change in self._changes if change < 0)
            fewer = rule.down_per_minute - already
            floor = max(one for _, one in (*self._wishes, (now, 1)))
        fewer = max(0, min(fewer, len(staying) - floor))
        staying.sort(key=lambda worker: worker.job is None)  # the worst choice: busy ones first
        for worker in staying[:fewer]:
            worker.gone_at = now + self.grace_s
        if fewer:
            self._changes.append((now, -fewer))
