"""Two versions on one record: what the newer one wrote is left whole by the older one, for a newer one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from rig.kept_record import KeptRecord, kept_records
from rig.server_clock import ServerClock

from service.contracts.api_key import Scope
from service.contracts.artifact import Artifact
from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import Stage
from service.contracts.schema import RECORD_SCHEMA
from service.store.api_keys import KeyStore
from service.store.deliveries import DeliveryStore, Settlement, Verdict
from service.store.errors import NewerRecord
from service.store.nouns import Note, Submission, SubmitOutcome
from service.store.roster import snapshot
from service.store.script import Command, Library, Store
from service.store.store import JobStore

#: The version after this one, whose records mean something that this one does not know.
NEXT = Library(ServerClock.library.clock, RECORD_SCHEMA + 1)

Submit = Callable[..., Submission]

FIRST_KEPT = next(kept_records())
ONE_MODEL = dict(KeptRecord.load(FIRST_KEPT).keys["{mc}:catalogue"]["value"])["nano"]


@pytest.fixture
def following(redis: Redis) -> JobStore:
    """A later version's store on the same record."""
    return JobStore(Store(redis, NEXT))


def dump(redis: Redis, job_id: str) -> dict[Any, Any]:
    return {key: redis.dump(key) for key in redis.scan_iter(match=f"*{job_id}*")}


def test_every_record_says_its_schema(scene: Any, redis: Redis) -> None:
    scene.submit("video_a")
    assert redis.hget(REDIS_KEYS["JOB"] + "video_a", "schema") == str(RECORD_SCHEMA).encode()
    assert redis.hgetall(REDIS_KEYS["SCHEMAS"]) == {str(RECORD_SCHEMA).encode(): b"1"}
    (event,) = redis.xrange(REDIS_KEYS["EVENTS"] + "video_a")
    assert event[1][b"schema"] == str(RECORD_SCHEMA).encode()


@pytest.mark.parametrize(
    "touch",
    [
        lambda jobs: jobs.get("default", "video_new"),
        lambda jobs: jobs.record("video_new"),
        lambda jobs: jobs.cancel("default", "video_new"),
        lambda jobs: jobs.delete("default", "video_new"),
        lambda jobs: jobs.events("default", "video_new"),
        lambda jobs: jobs.note("video_new", 1, Note(Stage.TEXT_TO_IMAGE, 1, 2, 3)),
        lambda jobs: jobs.release("video_new", 1, "leaving"),
    ],
)
def test_a_newer_record_is_refused_by_name_and_not_changed(
    touch: Callable[[JobStore], object],
    scene: Any,
    following: JobStore,
    redis: Redis,
    make_submission: Submit,
) -> None:
    following.submit(make_submission("video_new"))
    before = dump(redis, "video_new")
    with pytest.raises(NewerRecord, match=r"video_new is of schema 2, this version reads up to 1$"):
        touch(scene.jobs)
    assert dump(redis, "video_new") == before
    assert following.get("default", "video_new") is not None


def test_an_older_worker_claims_what_it_understands_and_passes_the_rest(
    scene: Any, following: JobStore, make_submission: Submit
) -> None:
    for job_id in ("video_new1", "video_new2"):
        following.submit(make_submission(job_id))
    scene.submit("video_old1")
    following.submit(make_submission("video_new3"))
    scene.submit("video_old2")
    assert scene.claimed_ids(limit=5) == ["video_old1", "video_old2"]
    assert scene.claimed_ids("w2", limit=5) == []
    claims = following.claim("default", "w3", 5, 15.0, ["micro"])
    assert [claim.job.id for claim in claims] == ["video_new1", "video_new2", "video_new3"]


def test_only_a_newer_sweep_ends_what_is_newer_and_the_older_one_counts_it(
    scene: Any, following: JobStore, make_submission: Submit
) -> None:
    following.submit(make_submission("video_new", finish_by=None))
    following.claim("default", "w1", 1, scene.lease_s, ["micro"])
    scene.submit("video_old")
    scene.claim("w2")
    for _ in range(5):
        scene.clock.advance(scene.lease_s / 3)
        reaped = scene.reap()
        assert "video_new" not in reaped.ids
        assert reaped.left == 1
    assert scene.jobs.get("default", "video_old").state == "queued"
    assert scene.jobs.snapshot().left == 1
    scene.clock.advance(1)
    assert following.reap(scene.lease_s).ids == ("video_new",)
    assert following.snapshot().left == 0


def test_a_listing_shows_what_can_be_read(scene: Any, following: JobStore, make_submission: Submit) -> None:
    scene.submit("video_old")
    following.submit(make_submission("video_new"))
    assert [job.id for job in scene.jobs.list_jobs("default").jobs] == ["video_old"]
    assert [job.id for job in following.list_jobs("default").jobs] == ["video_new", "video_old"]


def test_many_newer_records_hide_no_older_one(
    scene: Any, following: JobStore, make_submission: Submit
) -> None:
    """The walk past them has no page that they can fill."""
    for number in range(130):
        following.submit(make_submission(f"video_new{number}", queue_limit=1000, webhook_url=None))
        assert following.cancel("default", f"video_new{number}") == "cancelled"
    scene.submit("video_old", webhook_url=None)
    assert scene.jobs.cancel("default", "video_old") == "cancelled"
    scene.clock.advance(3601)
    assert [job.id for job in scene.jobs.doomed(100)] == ["video_old"]
    assert scene.jobs.purge("video_old")
    assert len(following.doomed(200)) == 130
    assert scene.jobs.snapshot().left == 130


def test_events_wait_in_the_outbox_and_deliveries_stay_due_for_a_newer_notifier(
    scene: Any, following: JobStore, redis: Redis, make_submission: Submit
) -> None:
    older, newer = DeliveryStore(Store(redis, ServerClock.library)), DeliveryStore(Store(redis, NEXT))
    following.submit(make_submission("video_new"))
    following.cancel("default", "video_new")
    scene.submit("video_old")
    scene.jobs.cancel("default", "video_old")
    assert older.relay(1).moved == 1
    (delivery,) = older.take(10, 30, 4, {})
    assert delivery.event.job_id == "video_old"
    assert older.settle(delivery.id, delivery.tries, Settlement(Verdict.DELIVERED, "200"), 60)
    assert older.relay(10).moved == 0
    assert newer.relay(10).moved == 1
    assert older.take(10, 30, 4, {}) == ()
    (delivery,) = newer.take(10, 30, 4, {})
    assert delivery.event.job_id == "video_new"
    assert newer.settle(delivery.id, delivery.tries, Settlement(Verdict.DEAD, "no"), 60)
    with pytest.raises(NewerRecord, match="the delivery evt_video_new"):
        older.redeliver(delivery.id)
    assert newer.redeliver(delivery.id)


def test_events_of_an_owner_with_a_newer_endpoint_wait_until_somebody_knows_who_wants_them(
    scene: Any, redis: Redis
) -> None:
    older, newer = Store(redis, ServerClock.library), Store(redis, NEXT)
    args = ("we_1", "default", "https://example.com/all", "", "", "whsec_x", 10)
    newer.run(Command("add_endpoint", args, list))
    scene.submit("video_a", webhook_url=None)
    scene.jobs.cancel("default", "video_a")
    assert DeliveryStore(older).relay().moved == 0
    assert older.run(Command("endpoints", ("default", ""), list)) == []
    with pytest.raises(NewerRecord, match="the endpoint we_1"):
        older.run(Command("change_endpoint", ("default", "we_1", "enabled", "0"), list))
    assert DeliveryStore(newer).relay().moved == 1
    assert DeliveryStore(older).take(10, 30, 4, {}) == ()


def test_fields_that_only_a_newer_version_knows_outlive_every_write_of_this_one(
    scene: Any, redis: Redis, make_artifact: Callable[[str], Artifact]
) -> None:
    """New fields do not raise the schema: this version runs such a job and keeps what it does not know."""
    scene.submit("video_a")
    redis.hset(REDIS_KEYS["JOB"] + "video_a", mapping={"mood": "calm"})
    (claim,) = scene.claim()
    assert scene.jobs.note("video_a", claim.attempt, Note(Stage.TEXT_TO_IMAGE, 1, 2, 3))
    assert scene.jobs.release("video_a", claim.attempt, "leaving")
    assert scene.jobs.cancel("default", "video_a") == "cancelled"
    assert redis.hget(REDIS_KEYS["JOB"] + "video_a", "mood") == b"calm"
    picture = make_artifact("default/video_a/1/candidate-0.png").model_dump() | {"mood": "calm"}
    assert '"mood":"calm"' in Artifact.model_validate(picture).model_dump_json()


def test_a_key_with_more_words_and_scopes_opens_what_this_version_knows(
    redis: Redis,
    clock: ServerClock,
) -> None:
    keys = KeyStore(Store(redis, ServerClock.library))
    key_id, _ = keys.create("acme", [Scope.READ])
    (digest,) = redis.hkeys(REDIS_KEYS["API_KEYS"])
    redis.hset(REDIS_KEYS["API_KEYS"], digest, f"{key_id} acme read,paint 1700000000.0 until=1800000000")
    (key,) = keys.listed()
    assert (key.id, key.scopes, key.allows(Scope.WRITE)) == (key_id, frozenset({Scope.READ}), False)


def test_a_submission_sent_again_finds_its_job_whichever_version_made_it(
    scene: Any, following: JobStore, redis: Redis, make_submission: Submit
) -> None:
    first = following.submit(make_submission("video_new", idempotency_key="k"))
    again = scene.jobs.submit(make_submission("video_other", idempotency_key="k"))
    assert (first.outcome, again.outcome) == (SubmitOutcome.CREATED, SubmitOutcome.EXISTING)
    assert again.job_id == "video_new"
    assert Store(redis, NEXT).run(snapshot()).states["queued"] == 1


def test_a_gateway_reads_what_a_newer_worker_publishes(scene: Any, redis: Redis) -> None:
    """The catalogue is the newer worker's; what this version does not know of a model, it does not offer."""
    published = json.loads(ONE_MODEL)
    redis.hset(REDIS_KEYS["CATALOGUE"], "micro", json.dumps(published | {"sounds": {"max": 3}}))
    assert scene.jobs.catalogue()["micro"].spec.frames.max == published["frames"]["max"]
