"""What waits, by the priority that was asked for: an index that the sweep mends (ADR 0039)."""

from service.store.audit import Audit

PRIORITY = "{mc}:priority:default:"


def waiting(scene, pool="default"):
    """(ready, oldest wait in whole seconds) by priority, where any wait."""
    told = scene.jobs.snapshot().priorities
    return {asked: (ready, round(age)) for (of, asked), (ready, age) in told.items() if of == pool and ready}


def sweep(scene):
    scene.clock.advance(1.5)
    scene.reap()


def test_jobs_wait_under_the_priority_that_was_asked_for(scene):
    scene.submit("video_a", priority=-10)
    scene.clock.advance(7)
    scene.submit("video_b", priority=-10)
    scene.submit("video_c", priority=10, tenant="other", model="another")
    scene.clock.advance(2)
    assert waiting(scene) == {-10: (2, 9), 10: (1, 2)}
    assert scene.claimed_ids() == ["video_a"]  # of the one model that w1 holds
    assert waiting(scene) == {-10: (1, 2), 10: (1, 2)}
    scene.jobs.cancel("default", "video_b")
    assert waiting(scene) == {10: (1, 2)}


def test_every_priority_is_told_where_a_pool_is_known(scene):
    scene.running("video_a")
    assert set(scene.jobs.snapshot().priorities.values()) == {(0, 0.0)}
    assert [asked for _, asked in scene.jobs.snapshot().priorities] == list(range(-10, 11))


def test_a_job_that_was_given_back_has_waited_since_then(scene):
    scene.running("video_a", priority=3)
    scene.clock.advance(5)
    scene.jobs.release("video_a", 1, "drain")
    scene.clock.advance(2)
    assert waiting(scene) == {3: (1, 2)}


def test_jobs_that_a_version_without_the_index_queued_are_taken_in(scene, redis):
    for n, priority in enumerate((0, 0, 4)):
        scene.submit(f"video_{n}", priority=priority)
        redis.hdel(f"{{mc}}:job:video_{n}", "priority")  # it wrote no such field either
    redis.delete(f"{PRIORITY}0", f"{PRIORITY}4")
    assert waiting(scene) == {}
    sweep(scene)
    assert waiting(scene) == {0: (2, 2), 4: (1, 2)}


def test_more_than_a_sweep_looks_at_are_taken_in_by_the_next_ones(scene, redis):
    for n in range(600):
        scene.submit(f"video_{n}", queue_limit=1000)
    redis.delete(f"{PRIORITY}0")
    for _ in range(60):
        sweep(scene)
        if waiting(scene)[0][0] == 600:
            return
    raise AssertionError(waiting(scene))


def test_jobs_that_such_a_version_claimed_are_taken_out(scene, redis):
    scene.running("video_b", priority=-5)
    scene.submit("video_a", priority=2)
    redis.zadd(f"{PRIORITY}-5", {"video_b": 1.0, "video_gone": 0.5})
    assert waiting(scene)[-5][0] == 2
    assert {orphan.key for orphan in Audit(redis, lambda _: None).orphans()} == {f"{PRIORITY}-5"}
    sweep(scene)
    assert waiting(scene) == {2: (1, 2)}
    assert Audit(redis, lambda _: None).orphans() == []


def test_a_priority_that_was_changed_by_hand_counts_as_it_stands(scene, redis):
    scene.submit("video_a", priority=2)
    redis.hset("{mc}:job:video_a", "priority", "5")
    redis.zadd(f"{PRIORITY}1", {"video_gone": 1.0})  # else the numbers agree, and nobody looks
    sweep(scene)
    assert waiting(scene) == {5: (1, 2)}


def test_a_broken_job_leaves_the_index_whatever_its_priority_was(scene, redis):
    scene.submit("video_a", priority=2)
    redis.hset("{mc}:job:video_a", "priority", "high")
    assert scene.claimed_ids() == []
    assert scene.jobs.snapshot().aside == 1
    assert waiting(scene) == {}
