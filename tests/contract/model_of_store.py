"""The rules of the record as plain Python: what the store must do, without a database.

Not a test: test_store_machine.py drives the real store against it.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from rig.quota_rules import QuotaRules

from service.contracts.lifecycle import TERMINAL, State
from service.store import nouns

LEASE, RETENTION, MAX_LOST, APPROVAL = 15.0, 40.0, 2, 6.0
SECOND, PRIORITY_WORTH = (
    1_000_000,
    600 * 1_000_000,
)  # virtual time of a GPU second; microseconds of a priority step
LEAST_COST, UNMEASURED_PACE, PACE_GAIN, MOST_LAG = 0.05, 0.1, 0.2, 600 * SECOND


@dataclass
class ModelJob:
    id: str
    tenant: str
    priority: int
    compat: str
    arrival: int
    work: float
    key: str
    state: State = State.QUEUED
    attempt: int = 0
    lost: int = 0
    winner: int = 0
    cancel: bool = False
    deleted: bool = False
    alone: bool = False
    keyframe: bool = False
    chosen: str = ""
    spent: float | None = None
    progress: int = 0
    checkpoint: bool = False
    worker: str = ""
    start_by: float | None = None
    finish_by: float | None = None
    charged: int = 0
    charged_to: int = 0
    reserved: int = 0
    window: int = 0
    until: float = 0.0  # end of the lease, of the time for approval, or of the retention

    @property
    def runs_alone(self) -> bool:
        return self.alone or self.lost > 0 or self.keyframe or self.checkpoint

    @property
    def rank(self) -> int:
        return self.arrival - self.priority * PRIORITY_WORTH

    @property
    def deadline(self) -> float | None:
        counting = [self.finish_by, self.start_by if self.attempt == 0 else None]
        return min((by for by in counting if by is not None and self.state not in TERMINAL), default=None)


@dataclass
class Model(QuotaRules):
    """The rules of the record, without a database."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    ends: Counter[tuple[State, State]] = field(default_factory=Counter)  # from where to what, purged jobs too
    owed: dict[str, int] = field(default_factory=dict)  # tenant -> virtual time
    entered: dict[str, int] = field(default_factory=dict)  # tenant -> the clock when it came (back)
    pace: float | None = None
    clock: int = 0
    last_arrival: int = 0
    arrivals: int = 0
    weights: dict[str, float] = field(default_factory=dict)
    caps: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    draining: set[str] = field(default_factory=set)
    last_reap: float | None = None

    def holder(self, key: str) -> ModelJob | None:
        """The job that answers for an idempotency key: deleted ones answer for nothing."""
        return next((job for job in self.jobs.values() if job.key == key and not job.deleted), None)

    def of(self, *states: State) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state in states]

    def enqueue(self, job: ModelJob) -> None:
        if not any(other.tenant == job.tenant and other is not job for other in self.of(State.QUEUED)):
            self.owed[job.tenant] = max(self.owed.get(job.tenant, 0), self.clock)
            self.entered[job.tenant] = self.clock
        job.state = State.QUEUED

    def submit(
        self,
        job_id: str,
        tenant: str,
        priority: int,
        compat: str,
        work: float,
        start_in: float | None = None,
        finish_in: float | None = None,
        key: str = "",
    ) -> None:
        self.arrivals += 1
        self.last_arrival = max(self.last_arrival + 1, int(self.now * 1_000_000))
        start_by, finish_by = (None if s is None else self.now + s for s in (start_in, finish_in))
        job = ModelJob(
            job_id,
            tenant,
            priority,
            compat,
            self.last_arrival,
            work,
            key or job_id,
            start_by=start_by,
            finish_by=finish_by,
        )
        self.enqueue(job)
        self.jobs[job_id] = job
        self.count(job, self.estimate(work))

    def estimate(self, work: float) -> int:
        return math.ceil(work * (UNMEASURED_PACE if self.pace is None else self.pace) * SECOND)

    def in_hand(self, tenant: str) -> set[str]:
        return {job.id for job in self.jobs.values() if job.tenant == tenant and job.state not in TERMINAL}

    def end(self, job: ModelJob, state: State) -> None:
        if job.state is State.AWAITING_APPROVAL and job.spent is not None:
            self.settle(job, job.spent)
        painted = job.spent if job.state is State.AWAITING_APPROVAL else None
        self.account(job, round((painted or 0) * SECOND))
        self.ends[job.state, state] += 1
        job.state, job.until = state, self.now + (0 if job.deleted else RETENTION)
        job.progress = 100 if state is State.SUCCEEDED else job.progress
        job.checkpoint = False
        self.ended.append(job.id)

    def overdue(self) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.deadline is not None and job.deadline <= self.now]

    def expire(self, job: ModelJob) -> None:
        self.end(job, State.CANCELLED if job.cancel else State.EXPIRED)

    def charge(self, tenant: str, seconds: float) -> int:
        return int(max(seconds, LEAST_COST) * SECOND / self.weights.get(tenant, 1))

    def settle(self, job: ModelJob, seconds: float) -> None:
        """The tenant pays what the job took; an idle one without debt pays from where it stood."""
        change = self.charge(job.tenant, seconds) - job.charged
        if job.tenant in self.waiting():
            self.owed[job.tenant] = max(self.owed[job.tenant] + change, self.entered[job.tenant])
            return
        owed = self.owed[job.tenant]
        self.owed[job.tenant] = (owed if owed > self.clock else job.charged_to) + change

    def waiting(self) -> set[str]:
        return {job.tenant for job in self.of(State.QUEUED)}

    def room(self, tenant: str) -> float:
        running = sum(job.tenant == tenant for job in self.of(State.RUNNING))
        return max(0, self.caps.get(tenant, math.inf) - running)

    def wanted(self, workers: int) -> int:
        """Tickets: one for each job that may run now, but no more than live workers."""
        queued = Counter(job.tenant for job in self.of(State.QUEUED))
        claimable = sum(min(count, self.room(tenant)) for tenant, count in queued.items())
        return 0 if "pool:default" in self.paused else min(int(claimable), workers)

    def claim(self, worker: str, limit: int) -> list[str]:
        held = [job for job in self.of(State.RUNNING) if job.worker == worker]
        for job in held:
            job.until = self.now + LEASE
        if held:
            return sorted((job.id for job in held), key=lambda job_id: f"{job_id}|")
        taken: list[ModelJob] = []
        if "pool:default" in self.paused or worker in self.draining:
            return []
        while len(taken) < limit and not (taken and taken[0].runs_alone):
            ready = self.of(State.QUEUED)
            if taken:
                ready = [job for job in ready if job.compat == taken[0].compat and not job.runs_alone]
            ready = [job for job in ready if self.room(job.tenant)]
            if taken:
                ready = [job for job in ready if job not in self.overdue()]
            if not ready:
                break
            key = {job.id: (self.owed[job.tenant], job.tenant, job.rank) for job in ready}
            job = min(ready, key=lambda job: key[job.id])
            if job in self.overdue():
                self.expire(job)
                continue
            stands = max(self.owed[job.tenant], self.clock - MOST_LAG)
            self.clock = max(self.clock, stands)
            if job.attempt == 0:
                pace = UNMEASURED_PACE if self.pace is None else self.pace
                job.charged = self.charge(job.tenant, job.work * pace)
                job.charged_to = stands = stands + job.charged
            self.owed[job.tenant] = stands
            job.state, job.worker, job.attempt, job.until = (
                State.RUNNING, worker, job.attempt + 1, self.now + LEASE,
            )  # fmt: skip
            taken.append(job)
        return [job.id for job in taken]

    def current(self, job_id: str, attempt: int) -> ModelJob | None:
        job = self.jobs.get(job_id)
        return job if job and job.state is State.RUNNING and job.attempt == attempt else None

    def beat(self, worker: str, job_id: str, attempt: int) -> nouns.Beat:
        job = self.current(job_id, attempt)
        if not job or job.worker != worker:
            return nouns.Beat.LOST
        job.until = self.now + LEASE
        return nouns.Beat.CANCEL if job.cancel else nouns.Beat.OK

    def finish(self, job_id: str, attempt: int, asked: State, took: float | None) -> nouns.Finished:
        if running := self.current(job_id, attempt):
            running.winner, reserved = attempt, running.reserved
            self.end(running, State.CANCELLED if running.cancel else asked)
            self.account(running, reserved if took is None else round(took * SECOND))
            if took is not None:
                self.settle(running, took)
                if running.state is State.SUCCEEDED and attempt == 1:
                    measured = took / running.work
                    known = measured if self.pace is None else self.pace
                    self.pace = known + PACE_GAIN * (measured - known)
        job = self.jobs.get(job_id)
        if not job:
            return nouns.Finished(False, 0, None)
        waits = any(other.tenant == job.tenant for other in self.of(State.QUEUED))
        freed = waits and job.tenant in self.caps and self.room(job.tenant) > 0
        if job.state in TERMINAL:
            return nouns.Finished(job.winner == attempt and job.state == asked, job.winner, job.state, freed)
        return nouns.Finished(False, job.attempt if job.attempt > attempt else 0, job.state, freed)

    def hand_back(self, job: ModelJob, loss: bool) -> None:
        job.lost += loss
        if job.cancel:
            self.end(job, State.CANCELLED)
        elif loss and job.lost >= MAX_LOST:
            self.end(job, State.FAILED)
        else:
            self.enqueue(job)

    def hold(self, job: ModelJob, took: float | None) -> None:
        job.spent = took
        if job.cancel:
            self.end(job, State.CANCELLED)
            if took is not None:
                self.settle(job, took)
                self.account(job, round(took * SECOND))
        else:
            job.state, job.until = State.AWAITING_APPROVAL, self.now + APPROVAL

    def call_off(self, job: ModelJob) -> None:
        job.cancel = True
        if job.state is not State.RUNNING:
            self.end(job, State.CANCELLED)

    def reap(self) -> tuple[bool, set[str], set[str]]:
        gap = None if self.last_reap is None else self.now - self.last_reap
        self.last_reap = self.now
        running = self.of(State.RUNNING)
        if gap is None or gap < 0 or gap > LEASE / 2:
            for job in running:
                job.until = self.now + LEASE
            return True, set(), set()
        late = sorted((job for job in running if job.until <= self.now), key=lambda job: job.until)
        for job in late:
            self.hand_back(job, loss=True)
        overdue = [job for job in self.of(State.AWAITING_APPROVAL) if job.until <= self.now]
        for job in overdue:
            self.expire(job)
        missed = self.overdue()
        for job in missed:
            self.expire(job)
        return False, {job.id for job in late}, {job.id for job in overdue + missed}
