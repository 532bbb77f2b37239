"""What must hold in the real store after every step of its state machine, told by a model of its rules."""

from collections import Counter
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant

from rig.store_sight import RECORD, Sight
from service.contracts.lifecycle import TABLE, TERMINAL, State

WORKERS = ("w1", "w2")
#: Every story begins with these jobs (tenant, start_by, finish_by, seconds): a claim must find something.
OPENING = (
    *(("a", None, None), ("a", 4.0, None), ("b", None, 6.0)),
    *(("a", None, None), ("c", None, None), ("b", None, None)),
)
ENDING_TYPES = {TABLE[state].webhook_type for state in TERMINAL}


def at(time: float) -> Any:
    """This time to the millisecond: by itself approx() would let a time of today be off by half an hour."""
    return pytest.approx(time, rel=0, abs=1e-3)


class StoreInvariants(RuleBasedStateMachine):
    """`scene` holds the real store and its server, `model` the rules; the machine has rules for both."""

    scene: Any
    store: Any
    model: Any

    def job(self, n: int, *states: State) -> Any:
        """Mostly a job in one of these states, and now and then any."""
        every = list(self.model.jobs.values())
        choice = (n % 8 < 7 and self.model.of(*states)) or every
        return choice[n // 8 % len(choice)]

    @invariant()
    def both_tell_one_story(self) -> None:
        sight = Sight.of(self.scene.redis, self.model.jobs)
        self.records_agree(sight)
        self.leases_are_those_of_running_attempts(sight)
        self.exactly_the_queued_are_ready(sight)
        self.virtual_times_agree(sight)
        self.what_has_a_time_has_that_time(sight)
        self.every_end_is_told_exactly_once(sight)
        self.quotas_are_kept(sight)
        self.gauges_agree(sight)

    def records_agree(self, sight: Sight) -> None:
        assert sight.records == len(self.model.jobs)
        for job in self.model.jobs.values():
            stored = sight.jobs[job.id]
            assert stored["state"] == job.state
            numbers = [int(stored[name]) for name in RECORD[1:-2]]
            flags = [job.alone, job.cancel]
            assert numbers == [job.attempt, job.lost, job.deleted, job.winner, job.progress, *flags]
            assert bool(stored["keyframe"]) is job.keyframe
            assert bool(stored["checkpoint"]) is job.checkpoint

    def leases_are_those_of_running_attempts(self, sight: Sight) -> None:
        running = {f"{job.id}|{job.attempt}": job for job in self.model.of(State.RUNNING)}
        assert sight.sets["leases"] == {lease: at(job.until) for lease, job in running.items()}
        for worker in WORKERS:
            assert sight.held[worker] == {name for name, job in running.items() if job.worker == worker}

    def exactly_the_queued_are_ready(self, sight: Sight) -> None:
        queued = self.model.of(State.QUEUED)
        assert set(sight.sets["ready:default:micro"]) == {job.id for job in queued}
        ready, priorities = sight.sets["ready:default:micro"], self.store.snapshot().priorities
        for priority in (-1, 0, 1):
            asked = {job.id: ready[job.id] for job in queued if job.priority == priority}
            assert sight.sets[f"priority:default:{priority}"] == asked
            oldest = min(asked.values(), default=self.model.now)
            assert priorities["default", priority] == (len(asked), at(max(0.0, self.model.now - oldest)))
        for tenant in "abc":
            waiting = {job.id: job.rank for job in queued if job.tenant == tenant}
            assert sight.sets[f"queue:default:micro:{tenant}"] == waiting

    def virtual_times_agree(self, sight: Sight) -> None:
        owed, waiting = self.model.owed, self.model.waiting()
        ahead = {tenant for tenant, own in owed.items() if own > self.model.clock}
        assert sight.sets["tenants:default"] == {tenant: owed[tenant] for tenant in waiting}
        assert sight.sets["served:default"] == {tenant: owed[tenant] for tenant in ahead - waiting}
        assert (sight.clock, sight.pace) == (self.model.clock, self.model.pace)

    def what_has_a_time_has_that_time(self, sight: Sight) -> None:
        jobs = self.model.jobs.values()
        deadlines = {job.id: job.deadline for job in jobs if job.deadline is not None}
        waiting = {job.id: job.until for job in self.model.of(State.AWAITING_APPROVAL)}
        ended = {job.id: job.until for job in self.model.of(*TERMINAL)}
        for name, expected in (("deadlines", deadlines), ("approvals", waiting), ("doomed", ended)):
            assert sight.sets[name] == {job_id: at(time) for job_id, time in expected.items()}

    def quotas_are_kept(self, sight: Sight) -> None:
        for tenant in "abc":
            assert sight.in_hand[tenant] == self.model.in_hand(tenant)
            used = sight.used[tenant]
            if tenant in self.model.used:
                window, requests, gpu = self.model.used[tenant]
                assert used == {"window": f"{window}/60", "requests": str(requests), "gpu": str(gpu)}

    def every_end_is_told_exactly_once(self, sight: Sight) -> None:
        told = [job_id for job_id, kind in sight.outbox if kind in ENDING_TYPES]
        assert sorted(told) == sorted(self.model.ended)
        for job in self.model.jobs.values():
            entries = sight.events[job.id]
            assert [entry for entry, _ in entries] == [f"{n}-0" for n in range(1, len(entries) + 1)]
            kinds = [kind for _, kind in entries]
            assert sum(kind in ENDING_TYPES for kind in kinds) == (job.state in TERMINAL)
            assert kinds.count("video.started") == job.attempt

    def gauges_agree(self, sight: Sight) -> None:
        assert sight.running == dict(Counter(job.tenant for job in self.model.of(State.RUNNING)))
        snapshot = self.store.snapshot()
        assert snapshot.states == {state: len(self.model.of(state)) for state in State}
        depth = snapshot.models["default", "micro"]
        assert (depth.ready, depth.running) == (
            len(self.model.of(State.QUEUED)),
            len(self.model.of(State.RUNNING)),
        )
        for state in TERMINAL:
            assert depth.moves[state] == sum(n for (_, to), n in self.model.ends.items() if to is state)
        cancels = dict(snapshot.cancels)
        for state in (State.QUEUED, State.AWAITING_APPROVAL):
            assert cancels.pop(state) == self.model.ends[state, State.CANCELLED]
        assert sum(cancels.values()) == self.model.ends[State.RUNNING, State.CANCELLED]
        assert set(snapshot.pauses) == self.model.paused
        assert snapshot.pools["default"].wanted == self.model.wanted(len(WORKERS))
