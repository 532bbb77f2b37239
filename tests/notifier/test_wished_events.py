"""Of which events the URL of one request hears: its owner's endpoints have wishes of their own."""

from collections.abc import Callable

from redis import Redis
from rig.webhook_owners import OWNER, Owners

from service.store.deliveries import DeliveryStore
from service.store.store import JobStore

URL = "https://own.example"
OUTBOX = "{mc}:outbox"


def test_a_url_hears_of_what_was_asked_for_it_and_endpoints_of_what_was_for_them(
    timed: DeliveryStore,
    jobs: JobStore,
    submit: Callable[..., str],
    redis: Redis,
    redis_url: str,
) -> None:
    def cancelled(*events: str) -> str:
        job_id = submit(URL, webhook_events=events)
        jobs.cancel(OWNER, job_id)
        return job_id

    cancelled("video.completed", "video.failed")
    assert redis.xlen(OUTBOX) == 0, "nobody wants to hear of it"
    Owners(redis_url, timed.store.library).add("all")
    left_out = cancelled("video.completed")
    named = cancelled("video.started", "video.cancelled")
    all_of_them = cancelled()
    timed.relay()
    assert {each.id for each in timed.take(100, 60.0, 100, {})} == {
        f"evt_{left_out}_2_we_all",
        *(f"evt_{job}_2{receiver}" for job in (named, all_of_them) for receiver in ("", "_we_all")),
    }


def test_a_start_may_be_left_out_and_the_end_told(
    timed: DeliveryStore, jobs: JobStore, submit: Callable[..., str], redis: Redis
) -> None:
    job_id = submit(URL, webhook_events=("video.cancelled",))
    (claim,) = jobs.claim("default", "w1", 1, 60.0, ["micro"])
    assert redis.xlen(OUTBOX) == 0
    jobs.release(job_id, claim.attempt, "test", counts_as_loss=False)
    jobs.cancel(OWNER, job_id)
    timed.relay()
    assert [each.event.type for each in timed.take(100, 60.0, 100, {})] == ["video.cancelled"]
