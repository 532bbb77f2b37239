"""Quotas: what counts, when it is given back, and that a repeat never counts twice."""

import threading

import pytest

from service.contracts.cost import work_of
from service.contracts.quota import Quota, Quotas
from service.store.audit import Audit
from service.store.nouns import Cancelled, SubmitOutcome
from service.store.quotas import QuotaStore

HOUR = 3600.0
#: GPU seconds of a submission while nothing was measured (lua/waiting.lua: 0.1 a unit of work).
UNMEASURED = 0.1


@pytest.fixture
def quotas(scene):
    return QuotaStore(scene.jobs.store)


@pytest.fixture
def ask(scene, make_submission):
    """`ask(job_id, tenant, requests=..., **fields)`: submitted under these quotas of everybody."""

    def ask(job_id, tenant="default", fields=None, **limits):
        submission = make_submission(job_id, tenant, quotas=Quotas(HOUR, **limits), **(fields or {}))
        return scene.jobs.submit(submission)

    return ask


def cost(make_submission):
    return work_of(make_submission("video_a").request) * UNMEASURED


def used(quotas, tenant="default"):
    (allowance,) = quotas.allowances(tenant)
    return allowance.used


def test_the_job_beyond_a_quota_of_requests_waits_for_the_next_window(scene, ask):
    assert [ask(f"video_{n}", requests=2).outcome for n in "ab"] == [SubmitOutcome.CREATED] * 2
    refused = ask("video_c", requests=2)
    assert refused.outcome is SubmitOutcome.OVER_QUOTA
    reached = refused.quota
    assert (reached.quota, reached.used, reached.limit) == (Quota.REQUESTS, 2, 2)
    assert reached.resets_at == (scene.clock.now // HOUR + 1) * HOUR
    assert scene.jobs.get("default", "video_c") is None
    assert ask("video_other", "globex", requests=2).outcome is SubmitOutcome.CREATED
    scene.clock.set(reached.resets_at)
    assert ask("video_d", requests=2).outcome is SubmitOutcome.CREATED


def test_what_has_ended_or_was_deleted_still_counts_as_a_request(scene, ask):
    ask("video_a", requests=1)
    scene.jobs.delete("default", "video_a")
    assert ask("video_b", requests=1).quota.quota is Quota.REQUESTS


def test_a_repeat_by_id_by_key_or_by_a_library_never_counts_twice(scene, ask, quotas):
    whole = {"requests": 1, "concurrent_jobs": 1, "gpu_seconds": 1000.0}
    first = ask("video_a", fields={"idempotency_key": "k", "repeat": False}, **whole)
    assert first.outcome is SubmitOutcome.CREATED
    before = used(quotas)
    assert ask("video_a", fields={"idempotency_key": "k"}, **whole).outcome is SubmitOutcome.CREATED
    assert ask("video_b", fields={"idempotency_key": "k"}, **whole).outcome is SubmitOutcome.EXISTING
    assert ask("video_c", fields={"repeat": True}, **whole).outcome is SubmitOutcome.EXISTING
    assert used(quotas) == before
    assert (before[Quota.REQUESTS], before[Quota.CONCURRENT_JOBS]) == (1, 1)


def test_a_refusal_by_quota_lets_no_later_repeat_make_a_second_job(ask):
    """Libraries do not repeat it, so the repeat that comes is of the job that was accepted."""
    ask("video_a", fields={"repeat": False}, concurrent_jobs=1)
    assert ask("video_b", fields={"repeat": False}, concurrent_jobs=1).outcome is SubmitOutcome.OVER_QUOTA
    again = ask("video_c", fields={"repeat": True}, concurrent_jobs=5)
    assert (again.outcome, again.job_id) == (SubmitOutcome.EXISTING, "video_a")


def test_jobs_in_hand_wait_run_or_await_approval_until_they_end(scene, ask):
    ask("video_a", concurrent_jobs=1)
    assert ask("video_b", concurrent_jobs=1).quota.resets_at is None
    scene.claim()
    assert ask("video_b", concurrent_jobs=1).quota.quota is Quota.CONCURRENT_JOBS
    assert scene.jobs.hold("video_a", 1, 60, {})
    assert ask("video_b", concurrent_jobs=1).quota.used == 1
    scene.jobs.cancel("default", "video_a")
    assert ask("video_b", concurrent_jobs=1).outcome is SubmitOutcome.CREATED


def test_a_record_deleted_by_hand_gives_its_place_back(scene, ask):
    ask("video_a", concurrent_jobs=1)
    scene.redis.delete("{mc}:job:video_a")
    assert ask("video_b", concurrent_jobs=1).outcome is SubmitOutcome.CREATED


def test_gpu_seconds_are_set_aside_and_then_settled(scene, ask, quotas, make_submission):
    price = cost(make_submission)
    assert ask("video_a", gpu_seconds=1.5 * price).outcome is SubmitOutcome.CREATED
    refused = ask("video_b", gpu_seconds=1.5 * price).quota
    assert refused.quota is Quota.GPU_SECONDS
    assert (refused.used, refused.wanted) == pytest.approx((price, price), abs=1e-5)
    scene.claim()
    scene.jobs.finish("video_a", 1, Cancelled(), gpu_seconds=price / 4)
    assert used(quotas)[Quota.GPU_SECONDS] == pytest.approx(price / 4, abs=1e-5)
    assert ask("video_b", gpu_seconds=1.5 * price).outcome is SubmitOutcome.CREATED


def test_what_ends_without_a_finish_gives_its_gpu_seconds_back(scene, ask, quotas):
    ask("video_a")
    scene.jobs.cancel("default", "video_a")
    assert used(quotas)[Quota.GPU_SECONDS] == 0
    ask("video_b")
    scene.claim()
    scene.jobs.hold("video_b", 1, 60, {"gpu_seconds": 0.25})
    scene.jobs.cancel("default", "video_b")  # its candidates were painted, and are paid for
    assert used(quotas)[Quota.GPU_SECONDS] == 0.25


def test_a_job_that_ends_in_another_window_changes_nothing_there(scene, ask, quotas):
    ask("video_a")
    scene.claim()
    scene.clock.advance(HOUR)
    ask("video_b")
    before = used(quotas)
    scene.jobs.finish("video_a", 1, Cancelled(), gpu_seconds=500)
    assert used(quotas)[Quota.GPU_SECONDS] == before[Quota.GPU_SECONDS]


def test_a_tenants_own_quota_goes_before_everybodys(ask, quotas):
    quotas.set("default", {Quota.REQUESTS: 1})
    quotas.set("globex", {Quota.REQUESTS: "none"})
    assert [ask(f"video_{n}", requests=0).outcome for n in "ab"] == [
        SubmitOutcome.CREATED,
        SubmitOutcome.OVER_QUOTA,
    ]
    assert ask("video_c", "globex", requests=0).outcome is SubmitOutcome.CREATED
    assert [allowance.limits for allowance in quotas.allowances()] == [
        {Quota.REQUESTS: 1.0},
        {Quota.REQUESTS: "none"},
    ]
    quotas.set("globex", {Quota.REQUESTS: "default"})
    assert ask("video_d", "globex", requests=1).outcome is SubmitOutcome.OVER_QUOTA


def test_of_many_at_once_exactly_as_many_get_in_as_may(scene, ask):
    outcomes = []

    def one(n):
        outcomes.append(ask(f"video_{n}", requests=5).outcome)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [SubmitOutcome.CREATED] * 5 + [SubmitOutcome.OVER_QUOTA] * 15


def test_records_of_before_there_were_quotas_end_as_they_did(scene, ask):
    ask("video_a")
    scene.redis.hdel("{mc}:job:video_a", "reserved", "quota_window")
    scene.redis.delete("{mc}:quota-used:default", "{mc}:in-hand:default")
    scene.claim()
    assert scene.jobs.finish("video_a", 1, Cancelled(), gpu_seconds=5).accepted
    assert scene.redis.exists("{mc}:quota-used:default") == 0


@pytest.mark.parametrize(
    ("tenant", "limits", "bound"),
    [
        ("a:b", {Quota.REQUESTS: 1}, "tenant must match"),
        ("a", {Quota.REQUESTS: 1.5}, "requests must be a whole number of 0 to 1,000,000,000"),
        ("a", {Quota.GPU_SECONDS: -1}, "gpu_seconds must be 0 to 1,000,000,000"),
        ("a", {Quota.GPU_SECONDS: float("nan")}, "got nan"),
    ],
)
def test_a_bad_limit_is_named_with_its_bound(quotas, tenant, limits, bound):
    with pytest.raises(ValueError, match=bound):
        quotas.set(tenant, limits)


def test_the_audit_knows_what_belongs_to_quotas(scene, ask, quotas):
    quotas.set("default", {Quota.REQUESTS: 5})
    ask("video_a")
    scene.claim()
    scene.jobs.cancel("default", "video_a")
    audit = Audit(scene.redis, pause=lambda _: None)
    assert audit.orphans() == []
    scene.redis.sadd("{mc}:in-hand:default", "video_nobodys")
    (orphan,) = audit.orphans()
    assert "video_nobodys, which is gone" in orphan.why
