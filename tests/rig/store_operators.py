"""What the store's machine does beside jobs: owners who delete, operators, time, sweeps and the janitor."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from rig.store_invariants import WORKERS, StoreInvariants
from service.contracts.cost import work_of
from service.contracts.lifecycle import TERMINAL
from service.store import nouns

ALIVE_S = 1e9


class StoreOperators(StoreInvariants):
    """`controls` are the store's own; both workers live as long as any story."""

    rules: Any
    controls: Any

    def let_live(self, worker: str) -> bool:
        """Announce the worker, with the one model; True if it is to drain."""
        self.scene.redis.zadd("{mc}:serving:default:micro", {worker: self.scene.clock.now + ALIVE_S})
        return bool(self.store.announce(worker, "default", [], alive_s=ALIVE_S))

    def refused(self, sent: nouns.Submission) -> bool:
        """By a closed gate or a quota, and however often it is sent."""
        if "intake" in self.model.paused:
            refused = self.store.submit(sent)
            assert (refused.outcome, refused.pause.reason) == (nouns.SubmitOutcome.PAUSED, "a test")
            return True
        in_hand, gpu = self.model.in_hand(sent.tenant), self.model.estimate(work_of(sent.request))
        passed = self.model.passed(sent.tenant, len(in_hand), gpu)
        for _ in range(2 if passed else 0):
            refused = self.store.submit(sent)
            assert (refused.outcome, refused.quota.quota) == (nouns.SubmitOutcome.OVER_QUOTA, passed)
        return bool(passed)

    def delete(self, job: Any) -> None:
        expected = nouns.DeleteOutcome.MISSING if job.deleted else nouns.DeleteOutcome.DELETED
        if not job.deleted:
            job.deleted = True
            if job.state in TERMINAL:
                job.until = self.model.now
            else:
                self.model.call_off(job)
        job.cancel = True
        assert self.store.delete(job.tenant, job.id) is expected
        holder = self.model.holder(job.key)
        known = self.store.known(job.tenant, job.key, "d" * 64)
        assert (known and known.job_id) == (holder and holder.id)

    def set_weight(self, tenant: str, weight: float) -> None:
        self.controls.set_share(tenant, weight=weight)
        self.model.weights[tenant] = weight

    def set_cap(self, tenant: str, cap: int | None) -> None:
        self.controls.set_share(tenant, running_cap=cap, uncapped=cap is None)
        self.model.caps.pop(tenant, None)
        self.model.caps |= {} if cap is None else {tenant: cap}

    @rule(
        what=st.sampled_from(["weight", "cap", "gate", "gate", "drain"]),
        tenant=st.sampled_from("abc"),
        weight=st.sampled_from([1.0, 3.0, 0.3]),
        cap=st.sampled_from([None, 1, 1, 2]),
        gate=st.sampled_from(["intake", "intake", "pool:default"]),
        worker=st.sampled_from(WORKERS),
        stops=st.sampled_from([False, False, True]),
    )
    def operate(
        self, what: str, tenant: str, weight: float, cap: int | None, gate: str, worker: str, stops: bool
    ) -> None:
        """All that operators do is one rule, and mostly opens what is shut: stories need movement."""
        match what:
            case "weight":
                self.set_weight(tenant, weight)
            case "cap":
                self.set_cap(tenant, cap)
            case "gate" if stops:
                assert self.controls.pause(gate, "a test") is (gate not in self.model.paused)
                self.model.paused.add(gate)
            case "gate":
                assert self.controls.resume(gate) is (gate in self.model.paused)
                self.model.paused.discard(gate)
            case "drain" if stops:
                assert self.controls.drain([worker]) == (worker,)
                self.model.draining.add(worker)
                assert self.let_live(worker) is True
            case _:  # it goes; the next of its name is another
                self.store.retire(worker)
                self.model.draining.discard(worker)
                assert self.let_live(worker) is False

    @rule(seconds=st.sampled_from([0.6, 5.0, 5.0, 7.0, 9.0]), jump=st.sampled_from([0.0, 0.0, 0.0, -100.0]))
    def time_passes(self, seconds: float, jump: float) -> None:
        self.scene.clock.advance(seconds + jump)
        self.model.now = self.scene.clock.now
        extended, late, overdue = self.model.reap()
        reaped = self.store.reap(self.rules.LEASE, self.rules.MAX_LOST, every_s=0)
        assert (reaped.extended, set(reaped.ids), set(reaped.expired)) == (extended, late, overdue)
        assert reaped.wanted == {"default": self.model.wanted(len(WORKERS))}

    @rule(workers_are_silent=st.sampled_from([3, 4]))
    def turns_of_the_sweep(self, workers_are_silent: int) -> None:
        """Leases run out, as they do in service: between sweeps that leave no gap."""
        for _ in range(workers_are_silent):
            self.time_passes(5.0, 0.0)

    @rule(seconds=st.sampled_from([0.5, 3.0, 7.0]))
    def time_passes_unswept(self, seconds: float) -> None:
        self.scene.clock.advance(seconds)
        self.model.now = self.scene.clock.now

    @rule()
    def purge(self) -> None:
        due = {job.id for job in self.model.of(*TERMINAL) if job.until <= self.model.now}
        assert {job.id for job in self.store.doomed()} == due
        for job_id in list(self.model.jobs):
            assert self.store.purge(job_id) is (job_id in due)
        for job_id in due:
            del self.model.jobs[job_id]
