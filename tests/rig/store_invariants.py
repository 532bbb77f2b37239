"""What must hold in the real store after every step of its state machine, told by a model of its rules."""

from collections import Counter
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant

from service.contracts.lifecycle import TABLE, TERMINAL, State

WORKERS = ("w1", "w2")
#: Every story begins with these jobs (tenant, start_by, finish_by, seconds): a claim must find something.
OPENING = (("a", None, None), ("a", 4.0, None), ("b", None, 12.0), ("a", None, None), ("c", None, None))
ENDING_TYPES = {TABLE[state].webhook_type for state in TERMINAL}


class StoreInvariants(RuleBasedStateMachine):
    """`scene` holds the real store and its server, `model` the rules; the machine has rules for both."""

    scene: Any
    store: Any
    model: Any
    seen: dict[str, int]

    def job(self, n: int) -> Any:
        """Mostly a job that goes on: stories about ended jobs are short."""
        every = list(self.model.jobs.values())
        live = [job for job in every if job.state not in TERMINAL]
        running = self.model.of(State.RUNNING)
        choice = (running or every, running or live or every, live or every, every)[n % 4]
        return choice[n // 4 % len(choice)]

    def names(self, key: str) -> list[str]:
        return [name.decode() for name in self.scene.redis.zrange("{mc}:" + key, 0, -1)]

    @invariant()
    def records_agree(self) -> None:
        assert len(self.scene.redis.keys("{mc}:job:*")) == len(self.model.jobs)
        for job in self.model.jobs.values():
            stored = self.store.record(job.id)
            assert stored is not None
            assert (stored.state, stored.attempt, stored.lost) == (job.state, job.attempt, job.lost)
            assert (stored.deleted, stored.winner_attempt) == (job.deleted, job.winner)
            assert bool(stored.keyframe) is job.keyframe
            assert stored.attempt >= self.seen.get(job.id, 0)
            assert (stored.progress == 100) is (job.state is State.SUCCEEDED)
            self.seen[job.id] = stored.attempt

    @invariant()
    def no_lease_without_a_running_attempt(self) -> None:
        running = {f"{job.id}|{job.attempt}": job.worker for job in self.model.of(State.RUNNING)}
        assert set(self.names("leases")) == set(running)
        for worker in WORKERS:
            held = {member.decode() for member in self.scene.redis.smembers("{mc}:held:" + worker)}
            assert held == {lease for lease, holder in running.items() if holder == worker}

    @invariant()
    def exactly_the_queued_are_ready(self) -> None:
        queued = self.model.of(State.QUEUED)
        assert set(self.names("ready:default:micro")) == {job.id for job in queued}
        assert set(self.names("tenants:default")) == {job.tenant for job in queued}
        for tenant in "abc":
            waiting = sorted((job.rank, job.id) for job in queued if job.tenant == tenant)
            assert self.names(f"queue:default:micro:{tenant}") == [job_id for _, job_id in waiting]
        counts = self.store.snapshot().states
        assert counts == {state: len(self.model.of(state)) for state in State}

    @invariant()
    def virtual_times_agree(self) -> None:
        model, redis = self.model, self.scene.redis
        idle = {tenant for tenant, own in model.owed.items() if own > model.clock} - model.waiting()
        for name, expected in (("tenants", model.waiting()), ("served", idle)):
            stands = redis.zrange(f"{{mc}}:{name}:default", 0, -1, withscores=True)
            assert {tenant.decode(): own for tenant, own in stands} == {t: model.owed[t] for t in expected}
        assert int(redis.get("{mc}:clock:default") or 0) == model.clock
        pace = redis.hget("{mc}:paces", "default:micro")
        assert (pace and float(pace)) == model.pace

    @invariant()
    def exactly_the_deadlines_that_count_are_watched(self) -> None:
        watched = self.scene.redis.zrange("{mc}:deadlines", 0, -1, withscores=True)
        expected = {job.id: job.deadline for job in self.model.jobs.values() if job.deadline is not None}
        assert {job_id.decode(): pytest.approx(by) for job_id, by in watched} == expected

    @invariant()
    def running_is_counted_by_tenant_and_pauses_are_kept(self) -> None:
        counted = {name.decode(): int(n) for name, n in self.scene.redis.hgetall("{mc}:running").items()}
        assert counted == dict(Counter(job.tenant for job in self.model.of(State.RUNNING)))
        assert set(self.store.snapshot().pauses) == self.model.paused

    @invariant()
    def every_end_is_told_exactly_once(self) -> None:
        outbox = self.scene.outbox()
        assert sorted(job_id for job_id, kind in outbox if kind in ENDING_TYPES) == sorted(self.model.ended)
        for job in self.model.jobs.values():
            entries = self.scene.redis.xrange("{mc}:events:" + job.id)
            assert [entry.decode() for entry, _ in entries] == [f"{n}-0" for n in range(1, len(entries) + 1)]
            kinds = [fields[b"type"].decode() for _, fields in entries]
            assert sum(kind in ENDING_TYPES for kind in kinds) == (job.state in TERMINAL)
            assert kinds.count("video.started") == job.attempt
