"""What operators set, and that the record heeds it: gates, drains, weights, caps; and priorities that age."""

import pytest

from service.contracts.lifecycle import State
from service.store.controls import INTAKE, ControlStore, LiveWorker, TenantShare, gate_of
from service.store.nouns import Cancelled, Pause, SubmitOutcome

POOL = gate_of("default")
MINUTE = 60.0


@pytest.fixture
def controls(scene):
    return ControlStore(scene.jobs.store)


# ---- gates ----


def test_a_paused_intake_accepts_nothing_but_answers_what_it_knows(scene, controls, make_submission):
    scene.submit("video_a", idempotency_key="k")
    assert controls.pause(INTAKE, "night")
    refused = scene.jobs.submit(make_submission("video_b"))
    assert (refused.outcome, refused.pause) == (SubmitOutcome.PAUSED, Pause("night", scene.clock.now))
    repeated = scene.jobs.submit(make_submission("video_c", idempotency_key="k"))
    assert (repeated.outcome, repeated.job_id) == (SubmitOutcome.EXISTING, "video_a")
    assert scene.claimed_ids() == ["video_a"]  # what was accepted goes on
    assert controls.resume(INTAKE)
    scene.submit("video_b")


def test_a_paused_pools_jobs_wait_without_tickets_and_lose_nothing(scene, controls, make_artifact):
    scene.jobs.announce("w1", "default", [])
    scene.redis.zadd("{mc}:serving:default:micro", {"w1": scene.clock.now + 100})
    scene.running("video_running")
    scene.submit("video_a")
    controls.pause(POOL, "new cards")
    assert scene.claim("w2") == ()
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 0}
    scene.submit("video_b")
    assert len(scene.claim("w1")) == 1  # a lost answer is still given again
    assert scene.jobs.finish("video_running", 1, Cancelled()).accepted
    assert controls.resume(POOL)
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 1}
    assert scene.claimed_ids("w2", limit=2) == ["video_a", "video_b"]


def test_only_the_named_pool_is_paused(scene, controls):
    scene.submit("video_a", pool="large")
    controls.pause(POOL, "new cards")
    assert [claim.job.id for claim in scene.claim("w1", pool="large")] == ["video_a"]


def test_a_pause_keeps_its_time_and_takes_a_new_reason(scene, controls):
    assert controls.pause(INTAKE, "night")
    since = scene.clock.now
    scene.clock.advance(9)
    assert not controls.pause(INTAKE, 'still "night"')
    assert controls.pauses() == {INTAKE: Pause('still "night"', since)}
    assert controls.resume(INTAKE)
    assert not controls.resume(INTAKE)
    assert controls.pauses() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda controls: controls.pause(INTAKE, ""),
        lambda controls: controls.pause(INTAKE, "x" * 201),
        lambda controls: controls.pause(INTAKE, "two\nlines"),
        lambda controls: controls.pause(INTAKE, "\x1b[2J"),
        lambda _: gate_of("a:b"),
        lambda controls: controls.set_share("a:b", weight=1),
        lambda controls: controls.set_share("a", weight=0.001),
        lambda controls: controls.set_share("a", weight=101),
        lambda controls: controls.set_share("a", weight=float("nan")),
        lambda controls: controls.set_share("a", running_cap=0),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_bound(controls, wrong):
    with pytest.raises(ValueError, match="must"):
        wrong(controls)


# ---- drains ----


def test_a_draining_worker_claims_nothing_and_hears_it_with_its_announcement(scene, controls):
    assert scene.jobs.announce("w1", "default", []) is False
    scene.jobs.announce("w2", "default", [])
    scene.running("video_a")
    assert controls.drain(["w1", "w9"]) == ("w1",)
    assert scene.jobs.announce("w1", "default", []) is True
    assert controls.live_workers() == (
        LiveWorker("w1", "default", (), 1, True),
        LiveWorker("w2", "default", (), 0, False),
    )
    assert scene.jobs.snapshot().pools["default"].draining == 1
    scene.submit("video_b")
    assert len(scene.claim("w1")) == 1  # what it holds, it holds
    scene.jobs.finish("video_a", 1, Cancelled())
    assert scene.claim("w1") == ()
    assert scene.claimed_ids("w2") == ["video_b"]
    scene.jobs.retire("w1")
    assert scene.redis.zcard("{mc}:drains") == 0


def test_a_drain_outlasts_an_outage_of_the_announcements_and_not_a_day(scene, controls):
    scene.jobs.announce("w1", "default", [])
    assert controls.drain() == ("w1",)
    scene.clock.advance(60)
    assert controls.live_workers() == ()
    assert scene.jobs.announce("w1", "default", []) is True
    scene.clock.advance(86400)
    scene.reap()
    assert scene.redis.zcard("{mc}:drains") == 0


# ---- shares ----


def served(scene, claims: int) -> list[str]:
    """The tenant of each of so many claims; every job ends before the next one is claimed."""
    tenants = []
    for _ in range(claims):
        (claim,) = scene.claim()
        tenants.append(claim.job.tenant)
        scene.jobs.finish(claim.job.id, 1, Cancelled())
    return tenants


def test_weights_1_to_3_share_turns_1_to_3(scene, controls):
    controls.set_share("heavy", weight=3)
    for n in range(40):
        for tenant in ("heavy", "light"):
            scene.submit(f"video_{tenant}{n:02}", tenant=tenant)
    tenants = served(scene, 40)
    assert tenants.count("heavy") == 30
    for start in range(0, 40, 4):
        assert tenants[start : start + 4].count("light") == 1


def test_a_load_of_100_to_1_does_not_delay_the_one(scene):
    for n in range(99):
        scene.submit(f"video_big{n:02}", tenant="big")
    served(scene, 30)
    scene.submit("video_small", tenant="small")
    assert "small" in served(scene, 2)


def test_a_running_cap_holds_across_claims_and_inside_a_batch(scene, controls):
    controls.set_share("capped", running_cap=2)
    for n in range(5):
        scene.submit(f"video_capped{n}", tenant="capped")
        scene.submit(f"video_free{n}", tenant="free", priority=-10)
    assert [claim.job.tenant for claim in scene.claim("w1", limit=8)].count("capped") == 2
    assert scene.claim("w2", limit=8) == ()
    assert controls.shares() == (TenantShare("capped", 1, 2, 2), TenantShare("free", 1, None, 5))


def test_capped_jobs_are_not_claimable_and_a_freed_cap_says_that_one_is(scene, controls):
    for n in range(3):
        scene.jobs.announce(f"w{n}", "default", [])
        scene.redis.zadd("{mc}:serving:default:micro", {f"w{n}": scene.clock.now + 100})
    controls.set_share("capped", running_cap=1)
    for n in range(2):
        scene.submit(f"video_{n}", tenant="capped")
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 1}
    assert scene.claimed_ids("w0") == ["video_0"]
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 0}
    assert scene.claim("w1") == ()
    ended = scene.jobs.finish("video_0", 1, Cancelled())
    assert (ended.accepted, ended.freed) == (True, True)
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 1}
    assert scene.claimed_ids("w1") == ["video_1"]
    assert scene.jobs.finish("video_1", 1, Cancelled()).freed is False  # nobody waits any more


def test_a_cap_that_was_lowered_wakes_nobody_while_more_than_that_run(scene, controls):
    for n in range(3):
        scene.submit(f"video_{n}", tenant="capped")
    assert scene.claimed_ids("w1", limit=2) == ["video_0", "video_1"]
    controls.set_share("capped", running_cap=1)
    assert scene.jobs.finish("video_0", 1, Cancelled()).freed is False
    assert scene.claim("w2") == ()
    assert scene.jobs.finish("video_1", 1, Cancelled()).freed is True


def test_every_way_out_of_running_frees_the_cap(scene, controls):
    controls.set_share("default", running_cap=1)
    scene.running("video_a")
    scene.jobs.release("video_a", 1, "drain")
    assert scene.claimed_ids("w1") == ["video_a"]
    scene.let_lease_run_out()
    assert scene.claimed_ids("w2") == ["video_a"]
    assert scene.jobs.hold("video_a", 3, 600, {})
    scene.submit("video_b")
    assert scene.claimed_ids("w3") == ["video_b"]
    assert scene.redis.hgetall("{mc}:running") == {b"default": b"1"}


def test_a_cap_can_be_lifted_and_a_weight_set_back(scene, controls):
    controls.set_share("a", weight=3, running_cap=2)
    assert controls.shares() == (TenantShare("a", 3, 2, 0),)
    controls.set_share("a", uncapped=True)
    assert controls.shares() == (TenantShare("a", 3, None, 0),)
    controls.set_share("a", weight=1)
    assert controls.shares() == ()


# ---- ageing ----


def test_a_step_of_priority_is_worth_ten_minutes_of_waiting(scene):
    scene.submit("video_patient")
    scene.clock.advance(9 * MINUTE)
    scene.submit("video_urgent", priority=1)
    scene.clock.advance(2 * MINUTE)
    scene.submit("video_too_late", priority=1)
    assert [scene.claimed_ids(f"w{n}")[0] for n in range(3)] == [
        "video_urgent", "video_patient", "video_too_late",
    ]  # fmt: skip


def test_the_lowest_priority_cannot_be_starved_by_the_highest(scene):
    """One urgent job a minute and one claim a minute: without ageing the patient one would never run."""
    scene.submit("video_patient", priority=-10)
    for n in range(240):
        scene.submit(f"video_urgent{n:03}", priority=10)
        (claim,) = scene.claim()
        scene.jobs.finish(claim.job.id, 1, Cancelled())
        if claim.job.id == "video_patient":
            break
        scene.clock.advance(MINUTE)
    assert claim.job.id == "video_patient"
    assert 200 <= n <= 201  # twenty steps of ten minutes


def test_arrivals_stay_in_order_when_the_clock_is_set_back(scene):
    scene.submit("video_z")
    scene.clock.advance(-3600)
    scene.submit("video_y")
    scene.submit("video_x")
    assert [job.id for job in scene.jobs.list_jobs("default").jobs] == ["video_x", "video_y", "video_z"]
    assert [scene.claimed_ids(f"w{n}")[0] for n in range(3)] == ["video_z", "video_y", "video_x"]
    assert scene.jobs.snapshot().states[State.RUNNING] == 3
