"""After any load every key in Redis has an owner or an end; what has neither is found."""

import random

import pytest
from rq import Queue

from service.cli.main import main
from service.contracts.deadline import Deadline
from service.contracts.failure import Failure, FailureCode
from service.contracts.lifecycle import Stage
from service.queue import Tickets, gpu_queue
from service.store.audit import Audit
from service.store.deliveries import DeliveryStore, Settlement, Verdict
from service.store.nouns import Cancelled, Failed, Note, Succeeded
from service.store.script import Store
from service.store.store import JobStore


@pytest.fixture
def audit(redis):
    return Audit(redis, pause=lambda _: None)


def mixed_load(scene, make_artifact, seed: int) -> None:
    """A few hundred jobs live and end in every way there is; some still wait, run or await approval."""
    chance = random.Random(seed)
    deliveries, tickets = DeliveryStore(scene.jobs.store), Tickets(scene.redis)
    for n in range(200):
        tenant = chance.choice("abc")
        job_id = scene.submit(
            f"video_{n:03}",
            tenant,
            idempotency_key=f"key {n}" if n % 2 else None,
            webhook_url="https://example.com/hook" if n % 3 else None,
            retention_s=30.0,
            finish_by=Deadline(20.0, relative=True) if n % 7 == 0 else None,
            start_by=Deadline(5.0, relative=True) if n % 11 == 0 else None,
        )
        tickets.push("default")
        for claim in scene.claim(f"w{n % 4}", limit=2):
            job, attempt = claim.job, claim.attempt
            artifact = make_artifact(f"{job.tenant}/{job.id}/{attempt}/video.mp4")
            scene.jobs.note(job.id, attempt, Note(Stage.TEXT_TO_IMAGE, 1, 4, 5))
            match chance.randrange(7):
                case 0:
                    scene.jobs.hold(job.id, attempt, 12.0, {"gpu_seconds": 0.4})
                case 1:
                    scene.jobs.release(job.id, attempt, "drain")
                case 2:
                    failure = Failure(code=FailureCode.INTERNAL, message="x", retryable=True)
                    scene.jobs.finish(job.id, attempt, Failed(failure))
                case 3:
                    scene.jobs.finish(job.id, attempt, Cancelled())
                case 4:
                    pass  # its worker falls silent
                case _:
                    scene.jobs.finish(job.id, attempt, Succeeded(artifact))
        if chance.random() < 0.15:
            chance.choice([scene.jobs.cancel, scene.jobs.delete])(tenant, job_id)
        if n % 5 == 0:
            deliveries.relay()
            for delivery in deliveries.take(20, 5.0, 100, {}):
                verdict = chance.choice(list(Verdict))
                deliveries.settle(delivery.event.id, delivery.tries, Settlement(verdict, "x"), 60.0)
        if n % 10 == 0:
            for doomed in scene.jobs.doomed(50):
                scene.jobs.purge(doomed.id)
        scene.clock.advance(0.7)
        scene.reap()


@pytest.mark.parametrize("seed", range(3))
def test_a_mixed_load_leaves_no_orphan_behind(scene, audit, make_artifact, seed):
    mixed_load(scene, make_artifact, seed)
    assert audit.orphans() == []
    while scene.jobs.snapshot().states != dict.fromkeys(scene.jobs.snapshot().states, 0):
        scene.clock.advance(5)
        scene.reap()
        for claim in scene.claim("w0", limit=8):
            scene.jobs.finish(claim.job.id, claim.attempt, Cancelled())
        for doomed in scene.jobs.doomed(500):
            scene.jobs.purge(doomed.id)
    assert audit.orphans() == []
    kinds = {key.decode().split(":")[1] for key in scene.redis.keys("{mc}:*")}
    assert kinds.isdisjoint({"job", "events", "idempotency", "jobs", "ready", "queue", "deadlines", "leases"})
    assert kinds.isdisjoint({"held", "approvals", "doomed", "running", "tenants"})


PLANTED = {
    "{mc}:events:video_gone": lambda redis, key: redis.xadd(key, {"a": "b"}),
    "{mc}:idempotency:a:0123": lambda redis, key: redis.hset(key, "job", "video_gone"),
    "{mc}:place:a:video_gone": lambda redis, key: redis.set(key, 1),
    "{mc}:worker:w9": lambda redis, key: redis.hset(key, "pool", "default"),
    "{mc}:jobs:a": lambda redis, key: redis.zadd(key, {"video_gone": 1}),
    "{mc}:ready:default:micro": lambda redis, key: redis.zadd(key, {"video_run": 1}),
    "{mc}:queue:default:micro:a": lambda redis, key: redis.zadd(key, {"video_gone": 1}),
    "{mc}:deadlines": lambda redis, key: redis.zadd(key, {"video_gone": 1}),
    "{mc}:doomed": lambda redis, key: redis.zadd(key, {"video_run": 1}),
    "{mc}:leases": lambda redis, key: redis.zadd(key, {"video_gone|1": 1}),
    "{mc}:held:w9": lambda redis, key: redis.sadd(key, "video_gone|1"),
    "{mc}:approvals": lambda redis, key: redis.zadd(key, {"video_run": 1}),
    "{mc}:delivery:evt_1": lambda redis, key: redis.hset(key, "state", "waiting"),
    "{mc}:deliveries:due": lambda redis, key: redis.zadd(key, {"evt_gone": 1}),
    "{mc}:job:video_run": lambda redis, _: redis.zrem("{mc}:leases", "video_run|1"),
    "{mc}:job:video_wait": lambda redis, _: redis.zrem("{mc}:ready:default:micro", "video_wait"),
    "{mc}:nobody": lambda redis, key: redis.set(key, 1),
    "rq:job:lost": lambda redis, key: redis.hset(key, "status", "queued"),
    "rq:worker:w9": lambda redis, key: redis.hset(key, "state", "idle"),
}


@pytest.mark.parametrize("key", PLANTED)
def test_what_has_no_owner_is_named(scene, audit, key):
    scene.running("video_run")
    scene.submit("video_wait")
    Tickets(scene.redis).push("default")
    assert audit.orphans() == []
    PLANTED[key](scene.redis, key)
    assert key in {orphan.key for orphan in audit.orphans()}


def test_what_only_changes_hands_between_two_looks_is_no_orphan(scene):
    scene.redis.zadd("{mc}:deadlines", {"video_gone": 1})
    assert Audit(scene.redis, pause=lambda _: scene.redis.delete("{mc}:deadlines")).orphans() == []


def test_a_ticket_in_somebodys_hands_is_no_orphan(scene, audit):
    Tickets(scene.redis).push("default")
    (ticket,) = Queue(gpu_queue("default"), connection=scene.redis, serializer="json").job_ids
    scene.redis.delete("rq:queue:gpu-default")
    assert [orphan.key for orphan in audit.orphans()] == [f"rq:job:{ticket}"]
    scene.redis.zadd("rq:wip:gpu-default", {f"{ticket}:0123": 1})
    assert audit.orphans() == []


# ---- the command ----


@pytest.fixture
def command(redis, redis_url, capsys, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_audit_says_what_it_found_and_ends_with_1(command, redis):
    assert command("audit") == (0, "0 keys without an owner\n", "")
    redis.set("{mc}:nobody", 1)
    status, said, _ = command("audit")
    assert status == 1
    assert "{mc}:nobody  no part of this service makes such a key" in said


def test_pause_and_resume(command, redis):
    assert command("pause", "intake", "--reason", "night")[:2] == (0, "intake is paused\n")
    assert "already" in command("pause", "intake", "--reason", "long night")[1]
    assert command("pause", "pool", "default", "--reason", "new cards")[:2] == (0, "pool default is paused\n")
    said = command("worker", "list")[1]
    assert "intake is PAUSED since" in said
    assert said.count("PAUSED") == 2
    assert command("resume", "intake")[1] == "intake goes on\n"
    assert command("resume", "intake")[1] == "intake was not paused\n"
    assert command("pause", "pool", "--reason", "x") == (2, "", "microcinema: pool: name the pool\n")
    assert command("pause", "intake", "--reason", "x" * 201)[0] == 2


def test_worker_drain(command, redis):
    JobStore(Store(redis)).announce("w1", "default", [])
    assert command("worker", "drain")[0] == 2
    assert command("worker", "drain", "w9")[0] == 1
    assert command("worker", "drain", "w1")[:2] == (0, "1 told to drain: w1\n")


def test_tenant_set(command, redis):
    assert command("tenant", "set", "acme", "--weight", "3", "--running-cap", "2")[:2] == (
        0,
        "acme  weight 3  cap 2  running 0\n",
    )
    assert (
        command("tenant", "set", "acme", "--running-cap", "none")[1] == "acme  weight 3  no cap  running 0\n"
    )
    status, _, said = command("tenant", "set", "acme", "--weight", "1000")
    assert (status, said) == (2, "microcinema: weight must be 0.01 to 100, got 1000\n")
    assert command("tenant", "set", "acme")[0] == 2
    assert command("tenant", "list")[1] == "acme  weight 3  no cap  running 0\n"
    redis.sadd("{mc}:pools", "default", "large")
    for pool, taken in (("default", {"acme": 1, "zoo": 3}), ("large", {"acme": 2})):
        redis.zadd(f"{{mc}}:taken:{pool}", taken)
        redis.hset(f"{{mc}}:taken-in-all:{pool}", mapping={"era": 1, "all": sum(taken.values())})
    assert command("tenant", "list")[1] == (
        "acme  weight 3  no cap  running 0  25% of default of late  100% of large of late\n"
        "zoo  weight 1  no cap  running 0  75% of default of late\n"
    )
