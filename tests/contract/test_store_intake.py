"""Submitting, reading, listing: a 202 is a promise, and it is made once."""

import pytest

from service.contracts.lifecycle import State
from service.store.errors import UnknownCursor
from service.store.nouns import Forecast, Order, Seen, SubmitOutcome, Submitted

CREATED, EXISTING = SubmitOutcome.CREATED, SubmitOutcome.EXISTING
CONFLICT, FULL = SubmitOutcome.CONFLICT, SubmitOutcome.FULL


def test_a_submission_becomes_a_queued_record_that_gives_the_request_back(scene, make_submission):
    submission = make_submission("video_a", prompt='é "x" \\ ☃', metadata={"k": "v"}, priority=3)
    submitted = scene.jobs.submit(submission)
    assert submitted == Submitted(CREATED, "video_a")
    job = scene.jobs.get("default", "video_a")
    assert submitted.seen == scene.jobs.look("default", "video_a") == Seen(job, Forecast(0))
    assert job.request == submission.request
    assert (job.state, job.attempt, job.progress, job.created_at) == (State.QUEUED, 0, 0, scene.clock.now)
    assert job.compat == "same"
    assert job.keyframe is job.artifact is job.failure is job.started_at is job.expires_at is None
    assert scene.types("video_a") == ["video.queued"]
    assert scene.outbox() == []


def test_a_submission_sent_again_is_created_again_without_a_second_record_or_event(scene, make_submission):
    submission = make_submission("video_a", idempotency_key="k")
    before = scene.jobs.submit(submission)
    again = scene.jobs.submit(submission)
    assert again == before == Submitted(CREATED, "video_a")
    assert again.seen is None
    assert scene.types("video_a") == ["video.queued"]
    assert scene.jobs.queue_depth("default") == 1
    assert scene.jobs.snapshot().states[State.QUEUED] == 1
    assert len(scene.jobs.list_jobs("default").jobs) == 1


def test_the_same_id_for_another_request_or_another_tenant_is_a_conflict(scene, make_submission):
    scene.submit("video_a")
    assert scene.jobs.submit(make_submission("video_a", digest="other")).outcome is CONFLICT
    assert scene.jobs.submit(make_submission("video_a", tenant="rival")).outcome is CONFLICT


def test_an_idempotency_key_answers_with_the_first_job_or_with_conflict(scene, make_submission):
    scene.submit("video_a", idempotency_key="k: ü|*")
    again = make_submission("video_b", idempotency_key="k: ü|*")
    assert scene.jobs.submit(again) == Submitted(EXISTING, "video_a")
    other = make_submission("video_c", idempotency_key="k: ü|*", digest="other")
    assert scene.jobs.submit(other) == Submitted(CONFLICT, "video_a")
    assert scene.jobs.get("default", "video_b") is None
    rival = make_submission("video_d", tenant="rival", idempotency_key="k: ü|*")
    assert scene.jobs.submit(rival) == Submitted(CREATED, "video_d")


def test_a_known_key_is_recognised_without_a_submission(scene):
    assert scene.jobs.known("default", "k: ü|*", "d" * 64) is None
    scene.submit("video_a", idempotency_key="k: ü|*")
    assert scene.jobs.known("default", "k: ü|*", "d" * 64) == Submitted(EXISTING, "video_a")
    assert scene.jobs.known("default", "k: ü|*", "other") == Submitted(CONFLICT, "video_a")
    assert scene.jobs.known("rival", "k: ü|*", "d" * 64) is None
    scene.jobs.delete("default", "video_a")
    assert scene.jobs.known("default", "k: ü|*", "d" * 64) is None


def test_an_idempotency_key_lives_as_long_as_the_job_and_its_retention(scene):
    scene.submit("video_a", idempotency_key="k", retention_s=100)
    (key,) = scene.redis.keys("{mc}:idempotency:*")
    assert scene.redis.ttl(key) == -1
    scene.jobs.cancel("default", "video_a")
    assert 90 < scene.redis.ttl(key) <= 100


def test_a_full_queue_refuses_new_jobs_but_still_knows_the_ones_it_took(scene, make_submission):
    scene.submit("video_a", queue_limit=2, idempotency_key="k")
    scene.submit("video_b", queue_limit=2)
    assert scene.jobs.submit(make_submission("video_c", queue_limit=2)).outcome is FULL
    assert scene.jobs.get("default", "video_c") is None
    repeat = make_submission("video_x", queue_limit=2, idempotency_key="k")
    assert scene.jobs.submit(repeat).outcome is EXISTING
    other_pool = make_submission("video_d", queue_limit=2, pool="large")
    assert scene.jobs.submit(other_pool).outcome is CREATED
    scene.claim()
    assert scene.jobs.submit(make_submission("video_c", queue_limit=2)).outcome is CREATED


def test_the_limit_counts_every_model_of_the_pool(scene, make_submission):
    scene.submit("video_a", model="micro")
    assert scene.jobs.submit(make_submission("video_b", model="large", queue_limit=1)).outcome is FULL


def test_a_job_is_seen_by_its_tenant_only(scene):
    scene.submit("video_a", tenant="owner")
    assert scene.jobs.get("rival", "video_a") is None
    assert scene.jobs.events("rival", "video_a") == ()
    assert scene.jobs.list_jobs("rival").jobs == ()
    assert scene.jobs.record("video_a").tenant == "owner"
    assert scene.jobs.record("video_none") is None


def test_pages_follow_one_another_in_both_directions(scene):
    ids = [scene.submit(f"video_{n}") for n in range(5)]
    for order, expected in ((Order.ASC, ids), (Order.DESC, ids[::-1])):
        seen: list[str] = []
        after, more = None, True
        while more:
            page = scene.jobs.list_jobs("default", after=after, limit=2, order=order)
            seen += [job.id for job in page.jobs]
            after, more = seen[-1], page.has_more
        assert seen == expected
    assert scene.jobs.list_jobs("default", limit=5).has_more is False
    assert scene.jobs.list_jobs("default", after="video_0").jobs == ()


def test_an_unknown_cursor_is_named(scene):
    scene.submit("video_a", tenant="owner")
    with pytest.raises(UnknownCursor, match="video_a"):
        scene.jobs.list_jobs("rival", after="video_a")


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("purged", [False, True])
def test_paging_goes_on_behind_a_job_that_was_deleted_meanwhile(scene, order, purged):
    ids = [scene.submit(f"video_{n}") for n in range(5)]
    rest = ids[3:] if order is Order.ASC else [ids[1], ids[0]]
    first = scene.jobs.list_jobs("default", limit=3, order=order)
    assert first.jobs[-1].id == ids[2]
    scene.jobs.delete("default", ids[2])
    if purged:
        assert scene.jobs.purge(ids[2])
    page = scene.jobs.list_jobs("default", after=ids[2], limit=1, order=order)
    assert ([job.id for job in page.jobs], page.has_more) == (rest[:1], True)
    with pytest.raises(UnknownCursor):
        scene.jobs.list_jobs("rival", after=ids[2])


def test_paging_goes_on_behind_a_job_whose_retention_has_ended(scene):
    ids = [scene.submit(f"video_{n}", retention_s=10) for n in range(3)]
    scene.jobs.cancel("default", ids[1])
    scene.clock.advance(11)
    assert scene.jobs.purge(ids[1])
    page = scene.jobs.list_jobs("default", after=ids[1], order=Order.ASC)
    assert [job.id for job in page.jobs] == [ids[2]]


def test_events_are_read_from_a_seq_on(scene):
    scene.running("video_a")
    events = scene.jobs.events("default", "video_a")
    assert [(event.seq, event.id) for event in events] == [(1, "evt_video_a_1"), (2, "evt_video_a_2")]
    assert scene.jobs.events("default", "video_a", after=1) == events[1:]
    assert scene.jobs.events("default", "video_a", limit=1) == events[:1]
    assert events[1].data["attempt"] == 1
    assert events[1].data["status"] == "in_progress"


@pytest.mark.parametrize(
    ("field", "value"), [("job_id", "a|1"), ("tenant", "a:b"), ("pool", ""), ("pool", "x\n")]
)
def test_a_name_that_could_reach_another_key_is_refused(make_submission, field, value):
    fields = {"job_id": "video_a", field: value}
    with pytest.raises(ValueError, match=f"{field}="):
        make_submission(**fields)
