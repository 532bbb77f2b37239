"""Who runs next: fair across tenants, priority and age inside one, batches of one compat key."""

import pytest

from service.contracts.lifecycle import Stage, State
from service.store.nouns import Cancelled, Note


def test_a_claim_starts_an_attempt_with_a_lease(scene):
    scene.submit("video_a")
    (claim,) = scene.claim("w1")
    job = claim.job
    assert (claim.attempt, job.attempt, job.state, job.worker) == (1, 1, State.RUNNING, "w1")
    assert job.started_at == scene.clock.now
    assert scene.redis.zscore("{mc}:leases", "video_a|1") == scene.clock.now + 15
    assert scene.types("video_a") == ["video.queued", "video.started"]
    assert scene.outbox() == [("video_a", "video.started")]
    assert scene.claim("w2") == ()


def test_a_claim_whose_answer_was_lost_is_answered_again_and_not_taken_for_a_death(scene):
    for name in "ab":
        scene.submit(f"video_{name}")
    scene.submit("video_c", compat="other")
    first = scene.claim("w1", limit=2)
    scene.clock.advance(10)
    assert scene.claim("w1", limit=2) == first
    assert scene.redis.zscore("{mc}:leases", "video_a|1") == scene.clock.now + 15
    assert scene.types("video_a") == ["video.queued", "video.started"]


def test_what_a_worker_knows_that_it_holds_is_not_answered_again(scene):
    """A rendered video waits in the spool of w1 while it claims the next job, and loses that answer."""
    for name in "abc":
        scene.submit(f"video_{name}")
    (spooled,) = scene.claim("w1")
    known = [(spooled.job.id, spooled.attempt)]
    (second,) = scene.claim("w1", known=known)
    assert second.job.id == "video_b"
    assert scene.claim("w1", known=known) == (second,)
    (third,) = scene.claim("w1", known=[*known, (second.job.id, second.attempt), ("video_long_gone", 3)])
    assert third.job.id == "video_c"
    assert scene.redis.smembers("{mc}:held:w1") == {b"video_a|1", b"video_b|1", b"video_c|1"}


def test_priority_comes_before_age_inside_a_tenant(scene):
    scene.submit("video_old")
    scene.submit("video_urgent", priority=10)
    scene.submit("video_late", priority=-10)
    scene.submit("video_urgent_too", priority=10)
    order = [scene.claimed_ids(f"w{n}")[0] for n in range(4)]
    assert order == ["video_urgent", "video_urgent_too", "video_old", "video_late"]


def test_a_tenant_with_one_job_does_not_wait_behind_a_hundred(scene):
    for n in range(100):
        scene.submit(f"video_big{n:03}", tenant="big")
    order = [scene.claimed_ids(f"w{n}")[0] for n in range(3)]
    scene.submit("video_small", tenant="small")
    order += [scene.claimed_ids(f"w{n}")[0] for n in range(3, 6)]
    assert order[:3] == ["video_big000", "video_big001", "video_big002"]
    assert "video_small" in order[3:5]


@pytest.mark.parametrize(("backlog", "single"), [("a", "z"), ("z", "a")])
def test_a_tenant_that_comes_one_by_one_cannot_starve_a_backlog(scene, backlog, single):
    for n in range(6):
        scene.submit(f"video_backlog{n}", tenant=backlog)
    served = []
    for n in range(6):
        scene.submit(f"video_single{n}", tenant=single)
        served += scene.claimed_ids(f"w{n}")
    assert sum(name.startswith("video_backlog") for name in served) == 3


def test_idle_time_is_not_saved_up(scene):
    for n in range(10):
        scene.submit(f"video_busy{n}", tenant="busy")
        scene.claim(f"w{n}")
    for n in range(4):
        scene.submit(f"video_new{n}", tenant="new")
        scene.submit(f"video_more{n}", tenant="busy")
    served = [scene.claimed_ids(f"v{n}")[0] for n in range(4)]
    assert sum(name.startswith("video_new") for name in served) <= 3


def test_a_batch_takes_jobs_of_one_compat_key_fairly(scene):
    for n in range(4):
        scene.submit(f"video_a{n}", tenant="a")
    scene.submit("video_b_other", tenant="b", compat="other", priority=5)
    scene.submit("video_b0", tenant="b")
    scene.submit("video_c0", tenant="c")
    batch = scene.claim("w1", limit=4)
    assert [claim.job.id for claim in batch] == ["video_a0", "video_b0", "video_c0", "video_a1"]
    assert {claim.job.compat for claim in batch} == {"same"}
    assert scene.claimed_ids("w2", limit=4) == ["video_b_other"]


def test_equal_tenants_take_turns_in_a_batch_as_they_do_between_batches(scene):
    scene.submit("video_a_alone", tenant="a", compat="other")
    assert scene.claimed_ids("w0") == ["video_a_alone"]
    for name in ("a0", "b0", "c0", "c1"):
        scene.submit(f"video_{name}", tenant=name[0])
    # a has been served once already, so b and c begin; then all are level and the name decides.
    assert scene.claimed_ids("w1", limit=4) == ["video_b0", "video_c0", "video_a0", "video_c1"]


def test_a_batch_is_no_larger_than_asked_and_no_smaller_than_possible(scene):
    for n in range(5):
        scene.submit(f"video_{n}")
    assert len(scene.claim("w1", limit=3)) == 3
    assert len(scene.claim("w2", limit=3)) == 2


def test_only_models_that_the_worker_holds_are_claimed(scene):
    for n in range(40):
        scene.submit(f"video_foreign{n}", model="absent", priority=10)
    scene.submit("video_a")
    assert scene.claimed_ids("w1", limit=4) == ["video_a"]
    assert scene.claim("w2") == ()


def test_workers_of_two_models_in_one_pool_serve_their_own_and_starve_neither(scene):
    """One tenant asks for both models, one for either; each worker has work while there is any for it."""
    asked = {"micro": ("both", "small"), "large": ("both", "big")}
    for n in range(20):
        for model, tenants in asked.items():
            for tenant in tenants:
                scene.submit(f"video_{model}_{tenant}{n:02}", tenant=tenant, model=model, queue_limit=1000)
    served = {model: [] for model in asked}
    for _ in range(20):
        for worker, model in (("w1", "micro"), ("w2", "large")):
            claims = scene.jobs.claim("default", worker, 2, scene.lease_s, [model])
            assert {claim.job.request.model for claim in claims} == {model}
            assert len(claims) == 2
            for claim in claims:
                served[model].append(claim.job)
                scene.jobs.finish(claim.job.id, 1, Cancelled(), 1.0)
    for model, jobs in served.items():
        assert scene.jobs.claim("default", "w3", 1, scene.lease_s, [model]) == ()
        for tenant in asked[model]:
            mine = [job.id for job in jobs if job.tenant == tenant]
            assert mine == sorted(mine)  # first come, first served
            assert mine[0] in [job.id for job in jobs[:6]]  # and nobody waits for the other's whole queue


def test_where_not_every_worker_serves_what_waits_every_worker_is_woken(scene):
    for worker, model in (("w1", "micro"), ("w2", "micro"), ("w3", "large")):
        scene.jobs.announce(worker, "default", [])
        scene.redis.sadd("{mc}:models:default", model)
        scene.redis.zadd(f"{{mc}}:serving:default:{model}", {worker: scene.clock.now + 100})
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 0}
    scene.submit("video_a", model="large")
    scene.clock.advance(1)
    assert scene.reap().wanted == {"default": 3}  # a single ticket might always find one of the others
    assert scene.jobs.snapshot().pools["default"].wanted == 3


def test_only_the_workers_own_pool_is_claimed(scene):
    scene.submit("video_a", pool="large")
    assert scene.claim("w1") == ()
    assert [claim.job.id for claim in scene.claim("w1", pool="large")] == ["video_a"]


def test_a_job_that_lost_a_worker_runs_alone(scene):
    scene.running("video_a")
    scene.let_lease_run_out()
    scene.submit("video_b")
    assert scene.claimed_ids("w2", limit=4) == ["video_a"]
    assert scene.claimed_ids("w3", limit=4) == ["video_b"]


def test_a_job_that_lost_a_worker_is_nobodys_batch_mate(scene):
    scene.submit("video_first", priority=1)
    scene.submit("video_lost", priority=2)
    assert scene.claimed_ids("w1") == ["video_lost"]
    scene.jobs.release("video_lost", 1, "fatal device error", counts_as_loss=True)
    scene.submit("video_urgent", priority=10)
    assert scene.claimed_ids("w2", limit=4) == ["video_urgent", "video_first"]


def test_a_resumed_attempt_runs_alone(scene, make_artifact):
    scene.running("video_a")
    note = Note(Stage.TEXT_TO_IMAGE, 4, 4, 20, keyframe=make_artifact("default/video_a/1/keyframe.png"))
    assert scene.jobs.note("video_a", 1, note)
    assert scene.jobs.release("video_a", 1, "drain")
    scene.submit("video_b")
    (claim,) = scene.claim("w2", limit=4)
    assert (claim.job.id, claim.attempt, claim.job.lost) == ("video_a", 2, 0)
    assert claim.job.keyframe.key == "default/video_a/1/keyframe.png"
    assert claim.job.keyframe_attempt == 1


def test_a_job_released_to_run_alone_does(scene):
    for name in "abc":
        scene.submit(f"video_{name}")
    assert len(scene.claim("w1", limit=2)) == 2
    assert scene.jobs.release("video_a", 1, "out of memory", alone=True)
    assert scene.jobs.release("video_b", 1, "out of memory", alone=True)
    assert scene.claimed_ids("w1", limit=4) == ["video_a"]
    assert scene.claimed_ids("w2", limit=4) == ["video_b"]


def test_a_released_job_keeps_its_place(scene):
    scene.running("video_a")
    scene.submit("video_b")
    scene.jobs.release("video_a", 1, "drain")
    assert scene.claimed_ids("w2") == ["video_a"]
