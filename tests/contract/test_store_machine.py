"""The real store against a model of its rules, driven by random stories.

The model (model_of_store.py) knows nothing of Redis; after every step both must tell the same story.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rig.store_invariants import OPENING, WORKERS, StoreInvariants

from service.contracts.cost import work_of
from service.contracts.deadline import Deadline
from service.contracts.failure import Failure, FailureCode
from service.contracts.lifecycle import TERMINAL, Stage, State
from service.store import nouns
from service.store.controls import ControlStore


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    """The model of the store, which lies beside this file (tests are not a package)."""
    path = Path(__file__).with_name("model_of_store.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class StoreMachine(StoreInvariants):
    """Each rule does one thing to the store and to the model, perhaps twice, and compares the answers."""

    rules: Any
    make_submission: Any
    make_artifact: Any

    @initialize()
    def begin(self) -> None:
        self.scene.redis.flushall()
        self.scene.clock.set(1_700_000_000.0)
        self.store, self.model, self.seen = self.scene.jobs, self.rules.Model(self.scene.clock.now), {}
        self.controls = ControlStore(self.store.store)
        for tenant, start_in, finish_in in OPENING:
            self.submit(tenant, 0, "x", 4, start_in, finish_in, False, False)

    some_job = st.integers(0, 40)
    has_jobs = precondition(lambda self: self.model.jobs)
    stale = st.sampled_from([0, 0, 0, 1])
    twice = st.booleans()
    took = st.sampled_from([None, 0.0, 0.7, 5.0, 5.0, 2000.0])

    @rule(
        tenant=st.sampled_from("abc"),
        priority=st.integers(-1, 1),
        compat=st.sampled_from("xy"),
        steps=st.sampled_from([4, 40]),
        start_in=st.sampled_from([None, None, None, 4.0]),
        finish_in=st.sampled_from([None, None, None, 12.0]),
        absolute=st.booleans(),
        twice=twice,
    )
    def submit(
        self,
        tenant: str,
        priority: int,
        compat: str,
        steps: int,
        start_in: float | None,
        finish_in: float | None,
        absolute: bool,
        twice: bool,
    ) -> None:
        def deadline(seconds: float | None) -> Deadline | None:
            if seconds is None:
                return None
            return Deadline(self.model.now + seconds, False) if absolute else Deadline(seconds, True)

        job_id = f"video_{self.model.arrivals:03}"
        submission = self.make_submission(
            job_id,
            tenant,
            priority=priority,
            compat=compat,
            num_inference_steps=steps,
            retention_s=self.rules.RETENTION,
            idempotency_key=job_id,
            start_by=deadline(start_in),
            finish_by=deadline(finish_in),
        )
        if "intake" in self.model.paused:
            refused = self.store.submit(submission)
            assert (refused.outcome, refused.pause.reason) == (nouns.SubmitOutcome.PAUSED, "a test")
            return
        for _ in range(1 + twice):
            assert self.store.submit(submission) == nouns.Submitted(nouns.SubmitOutcome.CREATED, job_id)
        work = work_of(submission.request)
        self.model.submit(job_id, tenant, priority, compat, work, start_in, finish_in)

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 4), twice=twice)
    def claim(self, worker: str, limit: int, twice: bool) -> None:
        for _ in range(1 + twice):
            claims = self.store.claim("default", worker, limit, self.rules.LEASE, ["micro"])
            assert [claim.job.id for claim in claims] == self.model.claim(worker, limit)
            assert all(claim.attempt == self.model.jobs[claim.job.id].attempt for claim in claims)
            for claim in claims:
                by = self.model.jobs[claim.job.id].finish_by
                assert (claim.finish_in_s is None) is (by is None)
                assert by is None or abs(claim.finish_in_s - (by - self.model.now)) < 1e-5

    @rule(
        what=st.sampled_from(["weight", "cap", "gate", "drain"]),
        tenant=st.sampled_from("abc"),
        weight=st.sampled_from([1.0, 3.0, 0.3]),
        cap=st.sampled_from([None, 1, 2]),
        gate=st.sampled_from(["intake", "pool:default"]),
        worker=st.sampled_from(WORKERS),
        stops=st.sampled_from([False, False, False, True]),
    )
    def operate(
        self, what: str, tenant: str, weight: float, cap: int | None, gate: str, worker: str, stops: bool
    ) -> None:
        """All that operators do is one rule, and mostly opens what is shut: stories need movement."""
        match what:
            case "weight":
                self.controls.set_share(tenant, weight=weight)
                self.model.weights[tenant] = weight
            case "cap":
                self.controls.set_share(tenant, running_cap=cap, uncapped=cap is None)
                self.model.caps.pop(tenant, None)
                self.model.caps |= {} if cap is None else {tenant: cap}
            case "gate" if stops:
                assert self.controls.pause(gate, "a test") is (gate not in self.model.paused)
                self.model.paused.add(gate)
            case "gate":
                assert self.controls.resume(gate) is (gate in self.model.paused)
                self.model.paused.discard(gate)
            case "drain" if stops:
                self.store.announce(worker, "default", [], alive_s=0.001)
                assert self.controls.drain([worker]) == (worker,)
                self.model.draining.add(worker)
                assert self.store.announce(worker, "default", [], alive_s=0.001) is True
            case _:  # it goes; the next of its name is another
                self.store.retire(worker)
                self.model.draining.discard(worker)

    @has_jobs
    @rule(n=some_job, stale=stale, worker=st.sampled_from(WORKERS), twice=twice)
    def beat(self, n: int, stale: int, worker: str, twice: bool) -> None:
        job = self.job(n)
        for _ in range(1 + twice):
            answer = self.store.beat(worker, [(job.id, job.attempt - stale)], self.rules.LEASE)
            assert answer == {job.id: self.model.beat(worker, job.id, job.attempt - stale)}

    @has_jobs
    @rule(n=some_job, stale=stale, with_keyframe=st.booleans(), step=st.integers(1, 4), twice=twice)
    def note(self, n: int, stale: int, with_keyframe: bool, step: int, twice: bool) -> None:
        job = self.job(n)
        attempt = job.attempt - stale
        keyframe = (
            self.make_artifact(f"{job.tenant}/{job.id}/{attempt}/keyframe.png") if with_keyframe else None
        )
        current = self.model.current(job.id, attempt)
        for _ in range(1 + twice):
            note = nouns.Note(Stage.TEXT_TO_IMAGE, step, 4, step * 20, keyframe)
            assert self.store.note(job.id, attempt, note) is bool(current)
        if current:
            job.keyframe = job.keyframe or with_keyframe

    @has_jobs
    @rule(
        n=some_job,
        stale=stale,
        asked=st.sampled_from([State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED]),
        took=took,
        twice=twice,
    )
    def finish(self, n: int, stale: int, asked: State, took: float | None, twice: bool) -> None:
        job = self.job(n)
        attempt = job.attempt - stale
        outcome: nouns.Outcome = nouns.Cancelled()
        if asked is State.SUCCEEDED:
            outcome = nouns.Succeeded(self.make_artifact(f"{job.tenant}/{job.id}/{attempt}/video.mp4"))
        if asked is State.EXPIRED:
            outcome = nouns.Expired(Failure(code=FailureCode.EXPIRED, message="x", retryable=True))
        if asked is State.FAILED:
            outcome = nouns.Failed(Failure(code=FailureCode.INTERNAL, message="x", retryable=True))
        for _ in range(1 + twice):
            expected = self.model.finish(job.id, attempt, asked, took)
            assert self.store.finish(job.id, attempt, outcome, took) == expected

    @has_jobs
    @rule(n=some_job, stale=stale, loss=st.booleans(), alone=st.booleans())
    def release(self, n: int, stale: int, loss: bool, alone: bool) -> None:
        job = self.job(n)
        attempt = job.attempt - stale
        current = self.model.current(job.id, attempt)
        released = self.store.release(job.id, attempt, "drain", counts_as_loss=loss, alone=alone)
        assert released is bool(current)
        if current:
            job.alone = job.alone or alone
            self.model.hand_back(job, loss)
            assert self.store.release(job.id, attempt, "drain") is False

    @has_jobs
    @rule(n=some_job, stale=stale)
    def hold(self, n: int, stale: int) -> None:
        job = self.job(n)
        current = self.model.current(job.id, job.attempt - stale)
        keyframe = self.make_artifact(f"{job.tenant}/{job.id}/{job.attempt}/keyframe.png")
        assert self.store.hold(job.id, job.attempt - stale, keyframe, self.rules.APPROVAL) is bool(current)
        if current:
            self.model.hold(job)

    @has_jobs
    @rule(n=some_job)
    def approve(self, n: int) -> None:
        job = self.job(n)
        expected = nouns.ApproveOutcome.NOT_WAITING
        if job.deleted:
            expected = nouns.ApproveOutcome.MISSING
        elif job.state is State.AWAITING_APPROVAL and job.until > self.model.now:
            expected = nouns.ApproveOutcome.APPROVED
            self.model.enqueue(job)
        assert self.store.approve(job.tenant, job.id) is expected

    @has_jobs
    @rule(n=some_job, twice=twice)
    def cancel(self, n: int, twice: bool) -> None:
        job = self.job(n)
        expected = nouns.CancelOutcome.TERMINAL
        if job.deleted:
            expected = nouns.CancelOutcome.MISSING
        elif job.state not in TERMINAL:
            self.model.call_off(job)
            expected = nouns.CancelOutcome.FLAGGED
        if job.state is State.CANCELLED and not job.deleted:
            expected = nouns.CancelOutcome.CANCELLED
        for _ in range(1 + twice):
            assert self.store.cancel(job.tenant, job.id) is expected

    @has_jobs
    @rule(n=some_job)
    def delete(self, n: int) -> None:
        job = self.job(n)
        expected = nouns.DeleteOutcome.MISSING if job.deleted else nouns.DeleteOutcome.DELETED
        if not job.deleted:
            job.deleted = True
            if job.state in TERMINAL:
                job.until = self.model.now
            else:
                self.model.call_off(job)
        job.cancel = True
        assert self.store.delete(job.tenant, job.id) is expected

    @rule(seconds=st.sampled_from([0.6, 5.0, 5.0, 7.0, 9.0]), jump=st.sampled_from([0.0, 0.0, 0.0, -100.0]))
    def time_passes(self, seconds: float, jump: float) -> None:
        self.scene.clock.advance(seconds + jump)
        self.model.now = self.scene.clock.now
        extended, late, overdue = self.model.reap()
        reaped = self.store.reap(self.rules.LEASE, self.rules.MAX_LOST, every_s=0)
        assert (reaped.extended, set(reaped.ids), set(reaped.expired)) == (extended, late, overdue)

    @rule(seconds=st.sampled_from([0.5, 3.0, 4.0]))
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


@pytest.mark.timeout(120)
def test_the_store_keeps_to_its_model(scene, rules, make_submission, make_artifact) -> None:
    def machine() -> StoreMachine:
        made = StoreMachine()
        made.scene, made.rules = scene, rules
        made.make_submission, made.make_artifact = make_submission, make_artifact
        return made

    limits = settings(
        max_examples=60,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(machine, settings=limits)
