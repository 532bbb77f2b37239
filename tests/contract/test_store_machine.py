"""The real store against a model of its rules, driven by random stories.

The model (model_of_store.py) knows nothing of Redis; after every step both must tell the same story.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from rig.quota_rules import QUOTAS
from rig.store_invariants import OPENING, WORKERS
from rig.store_operators import StoreOperators

from service.contracts.cost import work_of
from service.contracts.deadline import Deadline
from service.contracts.failure import Failure, FailureCode
from service.contracts.lifecycle import TERMINAL, Stage, State
from service.store import nouns
from service.store.controls import ControlStore


class StoreMachine(StoreOperators):
    """Each rule does one thing to the store and to the model, perhaps twice, and compares the answers."""

    make_submission: Any
    make_artifact: Any

    @initialize(capped=st.sampled_from("abc"), weighty=st.sampled_from("abc"), limit=st.integers(1, 3))
    def begin(self, capped: str, weighty: str, limit: int) -> None:
        self.scene.redis.flushall()
        self.scene.clock.set(1_700_000_000.0)
        self.store, self.model = self.scene.jobs, self.rules.Model(self.scene.clock.now)
        self.controls = ControlStore(self.store.store)
        for worker in WORKERS:
            self.let_live(worker)
        self.set_weight(weighty, 3.0)
        self.set_cap(capped, 1)
        for tenant, start_in, finish_in in OPENING:
            self.submit(tenant, 0, "x", 4, start_in, finish_in, False, False)
        self.claim("w1", limit, False)

    some_job = st.integers(0, 8 * 7 - 1)
    has_jobs = precondition(lambda self: self.model.jobs)
    some_run = precondition(lambda self: self.model.of(State.RUNNING))
    some_wait = precondition(lambda self: self.model.of(State.AWAITING_APPROVAL))
    stale = st.sampled_from([0, 0, 1])
    twice = st.booleans()
    limit = st.sampled_from([4, 3, 2, 1])
    took = st.sampled_from([None, 0.0, 0.7, 5.0, 5.0, 2000.0])
    stored = st.sampled_from(["", "keyframe", "checkpoint"])

    @rule(
        tenant=st.sampled_from("abc"),
        priority=st.integers(-1, 1),
        compat=st.sampled_from("xxxy"),
        steps=st.sampled_from([4, 40]),
        start_in=st.sampled_from([None, None, None, 4.0]),
        finish_in=st.sampled_from([None, None, 6.0, 12.0]),
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
        submission = self.submission(
            job_id,
            tenant,
            priority=priority,
            compat=compat,
            num_inference_steps=steps,
            start_by=deadline(start_in),
            finish_by=deadline(finish_in),
        )
        if self.refused(submission):
            return
        for _ in range(1 + twice):
            assert self.store.submit(submission) == nouns.Submitted(nouns.SubmitOutcome.CREATED, job_id)
        work = work_of(submission.request)
        self.model.submit(job_id, tenant, priority, compat, work, start_in, finish_in)

    def submission(self, job_id: str, tenant: str, key: str = "", **fields: Any) -> nouns.Submission:
        fields |= {"retention_s": self.rules.RETENTION, "idempotency_key": key or job_id, "quotas": QUOTAS}
        return self.make_submission(job_id, tenant, **fields)

    @has_jobs
    @rule(n=some_job, anew=st.booleans(), altered=st.booleans())
    def submit_again(self, n: int, anew: bool, altered: bool) -> None:
        """Under the job's own id (a lost reply), or `anew` under its idempotency key alone."""
        job = self.job(n)
        holder = self.model.holder(job.key) if anew else job
        new_id = f"video_{self.model.arrivals:03}"
        digest = ("e" if altered and holder else "d") * 64
        sent = self.submission(new_id if anew else job.id, job.tenant, job.key, digest=digest)
        if holder:
            expected = nouns.SubmitOutcome.EXISTING if anew else nouns.SubmitOutcome.CREATED
            expected = nouns.SubmitOutcome.CONFLICT if altered else expected
            assert self.store.submit(sent) == nouns.Submitted(expected, holder.id)
        elif not self.refused(sent):  # the key of a deleted job is free again
            assert self.store.submit(sent) == nouns.Submitted(nouns.SubmitOutcome.CREATED, new_id)
            self.model.submit(new_id, job.tenant, 0, "same", work_of(sent.request), key=job.key)

    @rule(worker=st.sampled_from(WORKERS), limit=limit, took=took)
    def serve(self, worker: str, limit: int, took: float | None) -> None:
        """A worker's whole round: stories need many claims, and a claim needs a worker with empty hands."""
        self.claim(worker, limit, False)
        for job in [job for job in self.model.of(State.RUNNING) if job.worker == worker]:
            self.end(job, job.attempt, State.SUCCEEDED, took, False)

    @rule(worker=st.sampled_from(WORKERS), limit=limit, twice=twice)
    def claim(self, worker: str, limit: int, twice: bool) -> None:
        for _ in range(1 + twice):
            claims = self.store.claim("default", worker, limit, self.rules.LEASE, ["micro"])
            assert [claim.job.id for claim in claims] == self.model.claim(worker, limit)
            assert all(claim.attempt == self.model.jobs[claim.job.id].attempt for claim in claims)
            for claim in claims:
                by = self.model.jobs[claim.job.id].finish_by
                assert (claim.finish_in_s is None) is (by is None)
                assert by is None or abs(claim.finish_in_s - (by - self.model.now)) < 1e-5

    @some_run
    @rule(n=some_job, stale=stale, worker=st.sampled_from(WORKERS), twice=twice)
    def beat(self, n: int, stale: int, worker: str, twice: bool) -> None:
        job = self.job(n, State.RUNNING)
        for _ in range(1 + twice):
            answer = self.store.beat(worker, [(job.id, job.attempt - stale)], self.rules.LEASE)
            assert answer == {job.id: self.model.beat(worker, job.id, job.attempt - stale)}

    @some_run
    @rule(n=some_job, stale=stale, stored=stored, step=st.integers(1, 4), twice=twice)
    def note(self, n: int, stale: int, stored: str, step: int, twice: bool) -> None:
        job = self.job(n, State.RUNNING)
        attempt = job.attempt - stale
        prefix = f"{job.tenant}/{job.id}/{attempt}/"
        keyframe = self.make_artifact(prefix + "keyframe.png") if stored == "keyframe" else None
        kept = nouns.Checkpoint(key=prefix + "x", sha256="b" * 64, step=1) if stored == "checkpoint" else None
        current = self.model.current(job.id, attempt)
        for _ in range(1 + twice):
            note = nouns.Note(Stage.TEXT_TO_IMAGE, step, 4, step * 20, keyframe, kept)
            assert self.store.note(job.id, attempt, note) is bool(current)
        if current:
            job.progress = max(job.progress, step * 20)
            if stored:
                setattr(job, stored, True)

    @some_run
    @rule(
        n=some_job,
        stale=stale,
        asked=st.sampled_from([State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED]),
        took=took,
        twice=twice,
    )
    def finish(self, n: int, stale: int, asked: State, took: float | None, twice: bool) -> None:
        job = self.job(n, State.RUNNING)
        self.end(job, job.attempt - stale, asked, took, twice)

    def end(self, job: Any, attempt: int, asked: State, took: float | None, twice: bool) -> None:
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

    @some_run
    @rule(n=some_job, stale=stale, loss=st.booleans(), alone=st.booleans())
    def release(self, n: int, stale: int, loss: bool, alone: bool) -> None:
        job = self.job(n, State.RUNNING)
        attempt = job.attempt - stale
        current = self.model.current(job.id, attempt)
        released = self.store.release(
            job.id, attempt, "drain", counts_as_loss=loss, alone=alone, max_lost=self.rules.MAX_LOST
        )
        assert released is bool(current)
        if current:
            job.alone = job.alone or alone
            self.model.hand_back(job, loss)
            assert self.store.release(job.id, attempt, "drain") is False

    @some_run
    @rule(n=some_job)
    def give_back_for_another_to_resume(self, n: int) -> None:
        """What a drain does behind stage 1; the job then has a keyframe and runs alone."""
        self.note(n, 0, "keyframe", 4, False)
        self.release(n, 0, False, False)

    @some_run
    @rule(n=some_job)
    def come_back_before_the_end(self, n: int) -> None:
        """While a job runs its tenant may go and come back; only then it is known what the job cost."""
        job = self.job(n, State.RUNNING)
        self.serve("w2" if job.worker == "w1" else "w1", 4, 5.0)
        self.submit(job.tenant, 0, "x", 4, None, None, False, False)
        self.end(job, job.attempt, State.CANCELLED, 0.0, False)

    @some_run
    @rule(n=some_job, stale=stale, took=took, twice=twice)
    def hold(self, n: int, stale: int, took: float | None, twice: bool) -> None:
        job = self.job(n, State.RUNNING)
        attempt = job.attempt - stale
        current = self.model.current(job.id, attempt)
        spent = {} if took is None else {"gpu_seconds": took}
        # A worker that asks again, because the first answer was lost, hears yes.
        parked = job.state is State.AWAITING_APPROVAL and job.attempt == attempt
        assert self.store.hold(job.id, attempt, self.rules.APPROVAL, spent) is (bool(current) or parked)
        if current:
            self.model.hold(job, took)
        if twice:
            held = job.state is State.AWAITING_APPROVAL and job.attempt == attempt
            assert self.store.hold(job.id, attempt, self.rules.APPROVAL, spent) is held

    @some_wait
    @rule(n=some_job, late=st.booleans(), chosen=st.sampled_from("01"), twice=twice)
    def approve(self, n: int, late: bool, chosen: str, twice: bool) -> None:
        if late:
            self.time_passes_unswept(self.rules.APPROVAL + 1)
        job = self.job(n, State.AWAITING_APPROVAL)
        expected = nouns.ApproveOutcome.NOT_WAITING
        if job.deleted:
            expected = nouns.ApproveOutcome.MISSING
        elif job.state is State.AWAITING_APPROVAL and job.until > self.model.now:
            expected = nouns.ApproveOutcome.APPROVED
            job.keyframe, job.chosen = True, chosen
            self.model.enqueue(job)
        elif job.state is not State.AWAITING_APPROVAL and job.chosen == chosen:
            expected = nouns.ApproveOutcome.AGAIN
        keyframe = self.make_artifact(f"{job.tenant}/{job.id}/1/candidate-{chosen}.png")
        assert self.store.approve(job.tenant, job.id, chosen, keyframe) is expected
        if twice and expected is nouns.ApproveOutcome.APPROVED:
            again = self.store.approve(job.tenant, job.id, chosen, keyframe)
            assert again is nouns.ApproveOutcome.AGAIN

    @has_jobs
    @rule(n=some_job, deletes=st.booleans(), overdue=st.booleans(), twice=twice)
    def call_off(self, n: int, deletes: bool, overdue: bool, twice: bool) -> None:
        job = self.job(n, State.RUNNING)
        if deletes:
            self.delete(job)
        else:
            self.cancel(job, twice)
        if job.state is State.RUNNING:  # its worker hears of it with the next beat
            heard = self.store.beat(job.worker, [(job.id, job.attempt)], self.rules.LEASE)
            assert heard == {job.id: self.model.beat(job.worker, job.id, job.attempt)}
            if overdue and job.finish_by is not None:  # and if it does not listen, the sweep ends the job
                self.time_passes(max(0.6, job.finish_by - self.model.now), 0.0)

    def cancel(self, job: Any, twice: bool) -> None:
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


@pytest.mark.timeout(300)
def test_the_store_keeps_to_its_model(scene, rules, make_submission, make_artifact) -> None:
    def machine() -> StoreMachine:
        made = StoreMachine()
        made.scene, made.rules = scene, rules
        made.make_submission, made.make_artifact = make_submission, make_artifact
        return made

    limits = settings(
        max_examples=130,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(machine, settings=limits)
