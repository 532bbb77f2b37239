"""Owners' endpoints: one delivery for each event and endpoint, own secrets, and an end to endless failing."""

import itertools
import json
import time

import pytest
from redis import Redis
from rig.webhook_owners import NEW, OLD, OWNER, Owners
from standardwebhooks import Webhook

from service.notifier.backoff import Backoff
from service.notifier.delivery import Courier, Limits
from service.notifier.post import Poster
from service.ssrf import Guard, pinned_client
from service.store.audit import Audit
from service.store.deliveries import Settled, Settlement, Verdict
from service.store.delivery_log import RESEND_DISABLED, RESEND_MISSING, Of

KEEP_S = 1000.0
OK, FAILED = Settlement(Verdict.DELIVERED, "delivered", 200), Settlement(Verdict.DEAD, "HTTP 500", 500)


@pytest.fixture
def owners(redis_url: str, server_clock) -> Owners:
    return Owners(redis_url, server_clock.library)


@pytest.fixture
def cancelled(jobs, submit):
    """A job ends, with a webhook_url of its own or without; its id."""

    def end(url=None, **fields):
        job_id = submit(url, **fields)
        jobs.cancel(fields.get("tenant", OWNER), job_id)
        return job_id

    return end


def taken(timed):
    return {each.id: each for each in timed.take(100, 60.0, 100, {})}


def test_each_endpoint_gets_each_event_that_it_wants_under_one_id(timed, owners, cancelled) -> None:
    owners.add("all")
    owners.add("ends", events=("video.cancelled",))
    owners.add("starts", events=("video.started", "video.completed"))
    owners.add("foreign", tenant="stranger")
    event = f"evt_{cancelled('https://own.example')}_2"
    assert timed.relay().moved == 1
    found = taken(timed)
    assert set(found) == {event, f"{event}_we_all", f"{event}_we_ends"}
    assert {each.event.id for each in found.values()} == {event}
    assert found[f"{event}_we_all"].secrets == (OLD,)
    assert found[event].secrets == ()


def test_an_event_that_is_relayed_twice_is_one_delivery_to_each(timed, owners, cancelled, redis) -> None:
    owners.add("one")
    owners.add("two")
    cancelled()
    ((_, fields),) = redis.xrange("{mc}:outbox")
    timed.relay()
    redis.xadd("{mc}:outbox", fields)
    assert (timed.relay().waiting, redis.xlen("{mc}:outbox")) == (2, 0)


def test_nobody_listens_and_nothing_is_told(timed, cancelled, redis) -> None:
    cancelled()
    assert redis.xlen("{mc}:outbox") == 0


def test_an_owner_has_so_many_and_a_repeat_is_the_same(owners) -> None:
    first = owners.add("one", limit=2)
    assert first == owners.add("one", url="https://other.example", limit=2)
    assert owners.add("two", limit=2)
    assert owners.add("three", limit=2) is None
    assert owners.add("three", tenant="stranger", limit=2)
    assert [each.id for each in owners(lambda ends, _: ends.listed(OWNER))] == ["we_one", "we_two"]
    assert owners.get("one", "stranger") is None


def test_two_secrets_sign_for_the_overlap_and_one_behind_it(timed, owners, cancelled, server_clock) -> None:
    owners.add()
    rotated = owners(lambda ends, _: ends.rotate(OWNER, "we_one", NEW, 100))
    assert rotated == owners(lambda ends, _: ends.rotate(OWNER, "we_one", NEW, 100)), (
        "a repeat is one rotation"
    )
    cancelled()
    timed.relay()
    (first,) = taken(timed).values()
    assert first.secrets == (NEW, OLD)
    server_clock.advance(101)
    (again,) = taken(timed).values()
    assert (again.id, again.secrets) == (first.id, (NEW,))


def test_a_410_disables_at_once_and_the_others_hear_of_it(timed, owners, cancelled) -> None:
    owners.add("one")
    owners.add("two", events=("webhook_endpoint.disabled",))
    first = cancelled()
    timed.relay()
    (mine,) = taken(timed).values()
    assert first in mine.id
    gone = Settlement(Verdict.GONE, "HTTP 410", 410)
    assert timed.settle(mine.id, mine.tries, gone, KEEP_S) is Settled.ENDPOINT_DISABLED
    stands = owners.get("one")
    assert (stands.enabled, stands.disabled_reason) == (False, "gone")
    assert stands.disabled_at is not None
    cancelled()
    timed.relay()
    (told,) = taken(timed).values()
    assert (told.event.type, told.endpoint_id, told.event.job_id) == (
        "webhook_endpoint.disabled",
        "we_two",
        "we_one",
    )
    assert told.event.data["reason"] == "gone"


def test_days_of_failure_disable_and_one_success_forgives_them(
    timed, owners, cancelled, server_clock
) -> None:
    owners.add()

    def try_once(outcome):
        cancelled()
        timed.relay()
        (delivery,) = taken(timed).values()
        return timed.settle(delivery.id, delivery.tries, outcome, KEEP_S, patience_s=100)

    assert try_once(FAILED) is Settled.WRITTEN
    since = owners.get().failing_since
    server_clock.advance(99)
    assert try_once(FAILED) is Settled.WRITTEN
    assert owners.get().failing_since == since
    assert try_once(OK) is Settled.WRITTEN
    assert owners.get().failing_since is None
    try_once(FAILED)
    server_clock.advance(101)
    assert try_once(FAILED) is Settled.ENDPOINT_DISABLED
    assert owners.get().disabled_reason == "failing"
    owners(lambda ends, _: ends.change(OWNER, "we_one", {"enabled": "1"}))
    again = owners.get()
    assert (again.enabled, again.failing_since, again.disabled_at, again.disabled_reason) == (
        True,
        *[None] * 3,
    )


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_what_waits_for_a_closed_endpoint_is_dropped_and_not_sent(
    timed, owners, cancelled, server_clock, how
) -> None:
    owners.add()
    cancelled()
    timed.relay()
    if how == "deleted":
        assert owners(lambda ends, _: ends.delete(OWNER, "we_one"))
        assert not owners(lambda ends, _: ends.delete(OWNER, "we_one"))
    else:
        owners(lambda ends, _: ends.change(OWNER, "we_one", {"enabled": "0"}))
        assert owners.get().disabled_reason == "owner"
    (closed,) = taken(timed).values()
    assert how in closed.closed
    assert closed.secrets == ()


def test_deliveries_are_logged_by_job_and_by_endpoint(timed, owners, cancelled) -> None:
    owners.add()
    ids = [cancelled("https://own.example/secret") for _ in range(3)]
    timed.relay()
    for each in taken(timed).values():
        for _ in "ab":  # the reply to the first was lost
            assert timed.settle(each.id, 1, Settlement(Verdict.RETRY, "HTTP 500: no", 500, 5.0), KEEP_S)
    of_job, more = owners.log(Of.JOB, ids[0])
    assert {each.endpoint_id for each in of_job} == {None, "we_one"}
    assert not more
    (first,), more = owners.log(limit=1)
    assert more
    rest, more = owners.log(after=first.id)
    assert (len(rest), more) == (2, False)
    assert {each.about for each in (first, *rest)} == set(ids)
    assert [(each.number, each.status, each.reason) for each in first.log] == [(1, 500, "HTTP 500: no")]
    assert (first.state, first.host) == ("waiting", "https://receiver.example")
    assert first.next_try_at is not None
    for strange in (owners.log(tenant="stranger"), owners.log(Of.JOB, ids[0], tenant="stranger")):
        assert strange is None


def test_an_operator_sends_a_dead_letter_to_an_endpoint_again(timed, owners, cancelled) -> None:
    owners.add()
    cancelled()
    timed.relay()
    (delivery,) = taken(timed).values()
    timed.settle(delivery.id, 1, FAILED, KEEP_S)
    (letter,) = timed.dead()
    assert letter.event_id == delivery.id
    assert timed.redeliver(letter.event_id)
    assert set(taken(timed)) == {delivery.id}


def test_an_owner_sends_again_under_the_same_id(timed, owners, cancelled, server_clock) -> None:
    owners.add()
    for outcome in (OK, FAILED):
        cancelled()
        timed.relay()
        (each,) = taken(timed).values()
        timed.settle(each.id, 1, outcome, KEEP_S)
        server_clock.advance(10)
    (failed, fine), _ = owners.log()

    def again(since=0.0, until=4e9, only_failed=True, tenant=OWNER):
        return owners(lambda _, log: log.resend_range(tenant, "we_one", since, until, only_failed))

    assert again(tenant="stranger") == RESEND_MISSING
    assert again(until=fine.filed_at) == 0
    assert again() == 1
    assert again() == 0, "it waits already"
    assert set(taken(timed)) == {failed.id}
    assert again(only_failed=False) == 1
    assert set(taken(timed)) == {fine.id}
    assert owners(lambda _, log: log.resend("stranger", fine.id)) is None
    waits = owners(lambda _, log: log.resend(OWNER, fine.id))
    assert (waits.state, waits.tries) == ("waiting", 3)
    assert taken(timed) == {}, "a try that is under way is not doubled"
    owners(lambda ends, _: ends.change(OWNER, "we_one", {"enabled": "0"}))
    assert again() == RESEND_DISABLED


def test_nothing_of_endpoints_is_left_without_an_owner(timed, owners, cancelled, jobs, redis, server_clock):
    owners.add()
    job_id = cancelled(retention_s=1.0)
    timed.relay()
    audit = Audit(redis, pause=lambda _: None)
    assert audit.orphans() == []
    jobs.delete(OWNER, job_id)
    assert jobs.purge(job_id)
    owners(lambda ends, _: ends.delete(OWNER, "we_one"))
    for each in taken(timed).values():
        timed.settle(each.id, each.tries, Settlement(Verdict.DROPPED, each.closed), KEEP_S)
    assert audit.orphans() == []
    assert redis.keys("{mc}:endpoint*") + redis.keys("{mc}:deliveries:*") == []


PLANTED = {
    "{mc}:endpoint:we_x": lambda redis, key: redis.hset(key, "tenant", "a"),
    "{mc}:endpoints:a": lambda redis, key: redis.zadd(key, {"we_gone": 1}),
    "{mc}:deliveries:job:video_gone": lambda redis, key: redis.zadd(key, {"evt": 1}),
    "{mc}:deliveries:endpoint:we_gone": lambda redis, key: redis.zadd(key, {"evt": 1}),
}


@pytest.mark.parametrize("key", PLANTED)
def test_an_orphan_of_an_endpoint_is_named(redis: Redis, key: str) -> None:
    PLANTED[key](redis, key)
    assert key in {orphan.key for orphan in Audit(redis, pause=lambda _: None).orphans()}


def test_a_receiver_verifies_both_secrets_and_a_ping_reaches_a_disabled_endpoint(
    deliveries, redis_url, signer, inbox, happen
) -> None:
    owners = Owners(redis_url, deliveries.store.library)
    owners.add(url=inbox.url)
    owners(lambda ends, _: ends.rotate(OWNER, "we_one", NEW, 1000))
    event_id = happen(inbox.url)
    client = pinned_client(Guard(allow_private=True), connect_timeout_s=1, timeout_s=5)
    seconds = itertools.count(int(time.time()))
    facts = []
    courier = Courier(
        deliveries,
        Poster(client, signer, 5.0, clock=lambda: next(seconds)),
        Backoff(),
        Limits(),
        facts.append,
    )
    courier.start()
    try:
        deliveries.relay()
        courier.serve()
        inbox.wait_for(2)
        letters = {letter.id: letter for letter in inbox.letters}
        assert set(letters) == {event_id, f"{event_id}_we_one"}
        mine = letters[f"{event_id}_we_one"]
        for secret in (NEW, OLD):
            assert Webhook(secret).verify(mine.body, mine.headers)["id"] == event_id
        assert courier.settled(30)
        owners(lambda ends, _: ends.change(OWNER, "we_one", {"enabled": "0"}))
        ping = owners(lambda ends, _: ends.ping(OWNER, "we_one", "0123"))
        happen(None)
        courier.serve()
        inbox.wait_for(3)
        assert inbox.letters[-1].id == ping.id
        assert json.loads(inbox.letters[-1].body)["type"] == "webhook_endpoint.ping"
        assert courier.settled(30)
    finally:
        courier.stop(5)
    assert [fact.settlement.verdict for fact in facts] == [Verdict.DELIVERED] * 3
    assert owners.log()[0][0].state == "delivered"
