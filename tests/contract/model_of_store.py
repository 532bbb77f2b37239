"""The rules of the record as plain Python: what the store must do, without a database.

Not a test: test_store_machine.py drives the real store against it.
"""

from dataclasses import dataclass, field

from service.contracts.lifecycle import TERMINAL, State
from service.store import nouns

LEASE, RETENTION, MAX_LOST, APPROVAL = 15.0, 40.0, 3, 20.0


@dataclass
class ModelJob:
    id: str
    tenant: str
    priority: int
    compat: str
    arrival: int
    state: State = State.QUEUED
    attempt: int = 0
    lost: int = 0
    winner: int = 0
    cancel: bool = False
    deleted: bool = False
    alone: bool = False
    keyframe: bool = False
    worker: str = ""
    until: float = 0.0  # end of the lease, of the time for approval, or of the retention

    @property
    def runs_alone(self) -> bool:
        return self.alone or self.lost > 0 or self.keyframe


@dataclass
class Model:
    """The rules of the record, without a database."""

    now: float
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    owed: dict[str, int] = field(default_factory=dict)  # tenant -> virtual time
    clock: int = 0
    arrivals: int = 0
    last_reap: float | None = None

    def of(self, *states: State) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state in states]

    def enqueue(self, job: ModelJob) -> None:
        if not any(other.tenant == job.tenant and other is not job for other in self.of(State.QUEUED)):
            self.owed[job.tenant] = max(self.owed.get(job.tenant, 0), self.clock)
        job.state = State.QUEUED

    def submit(self, job_id: str, tenant: str, priority: int, compat: str) -> None:
        self.arrivals += 1
        job = ModelJob(job_id, tenant, priority, compat, self.arrivals)
        self.enqueue(job)
        self.jobs[job_id] = job

    def end(self, job: ModelJob, state: State) -> None:
        job.state, job.until = state, self.now + (0 if job.deleted else RETENTION)
        self.ended.append(job.id)

    def claim(self, worker: str, limit: int) -> list[str]:
        held = [job for job in self.of(State.RUNNING) if job.worker == worker]
        for job in held:
            job.until = self.now + LEASE
        if held:
            return sorted((job.id for job in held), key=lambda job_id: f"{job_id}|")
        taken: list[ModelJob] = []
        while len(taken) < limit and not (taken and taken[0].runs_alone):
            ready = self.of(State.QUEUED)
            if taken:
                ready = [job for job in ready if job.compat == taken[0].compat and not job.runs_alone]
            if not ready:
                break
            key = {job.id: (self.owed[job.tenant], job.tenant, -job.priority, job.arrival) for job in ready}
            job = min(ready, key=lambda job: key[job.id])
            self.clock = max(self.clock, self.owed[job.tenant])
            self.owed[job.tenant] += job.attempt == 0
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

    def finish(self, job_id: str, attempt: int, asked: State) -> nouns.Finished:
        if running := self.current(job_id, attempt):
            running.winner = attempt
            self.end(running, State.CANCELLED if running.cancel else asked)
        job = self.jobs.get(job_id)
        if not job:
            return nouns.Finished(False, 0, None)
        if job.state in TERMINAL:
            return nouns.Finished(job.winner == attempt and job.state == asked, job.winner, job.state)
        return nouns.Finished(False, job.attempt if job.attempt > attempt else 0, job.state)

    def hand_back(self, job: ModelJob, loss: bool) -> None:
        job.lost += loss
        if job.cancel:
            self.end(job, State.CANCELLED)
        elif loss and job.lost >= MAX_LOST:
            self.end(job, State.FAILED)
        else:
            self.enqueue(job)

    def hold(self, job: ModelJob) -> None:
        job.keyframe = True
        if job.cancel:
            self.end(job, State.CANCELLED)
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
            self.end(job, State.EXPIRED)
        return False, {job.id for job in late}, {job.id for job in overdue}
