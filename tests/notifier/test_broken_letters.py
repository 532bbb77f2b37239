"""Events, deliveries and endpoints that somebody has spoiled by hand hold no other webhook up."""

import threading

import pytest
from rig.processes import wait_until
from rig.webhook_owners import OWNER, Owners
from structlog.testing import capture_logs

from service.notifier.relay import Relay
from service.queue import Tickets
from service.store.deliveries import Settlement, Verdict

URL = "https://example.com/hook"
OTHER = "https://example.org/hook"
#: A field of an event, and what somebody writes into it (None: takes it away).
SPOILED = [
    ("id", None),
    ("type", ""),
    ("tenant", None),
    ("job_id", None),
    ("seq", "first"),
    ("created_at", "then"),
    ("data", "{"),
    ("data", "[]"),
]


def take(store):
    return store.take(10, 60.0, 100, {})


def spoil(redis, key, field, value):
    redis.hdel(key, field) if value is None else redis.hset(key, field, value)


@pytest.mark.parametrize(("field", "value"), SPOILED)
def test_a_broken_event_leaves_the_outbox_and_those_behind_it_are_told(timed, happen, redis, field, value):
    happen(URL)
    ((entry, event),) = redis.xrange("{mc}:outbox")
    redis.xdel("{mc}:outbox", entry)
    event.pop(field.encode()) if value is None else event.update({field.encode(): value})
    redis.xadd("{mc}:outbox", event)
    behind = happen(OTHER)
    stands = timed.relay()
    assert (stands.moved, stands.outbox) == (2, 0)
    assert [delivery.event.id for delivery in take(timed)] == [behind]
    ((_, flaw),) = stands.broken
    assert field in flaw


@pytest.mark.parametrize(
    ("field", "value"), [*SPOILED, ("tries", "x"), ("url", None), ("endpoint", None), ("log", "?")]
)
def test_a_broken_delivery_is_a_dead_letter_and_the_others_are_sent(timed, happen, redis, field, value):
    broken = happen(URL)
    whole = happen(OTHER)
    timed.relay()
    spoil(redis, f"{{mc}}:delivery:{broken}", field, value)
    assert [delivery.event.id for delivery in take(timed)] == [whole]
    (letter,) = timed.dead()
    assert letter.event_id == broken
    assert "its record is broken" in letter.reason
    assert timed.settle(whole, 1, Settlement(Verdict.DELIVERED, "delivered", 200), 1000.0)
    assert timed.relay().waiting == 0
    assert redis.ttl(f"{{mc}}:delivery:{broken}") > 0


def test_a_dead_letter_whose_tries_are_no_number_does_not_hide_the_others(timed, happen, redis):
    ids = [happen(URL), happen(OTHER)]
    timed.relay()
    take(timed)
    for event_id in ids:
        assert timed.settle(event_id, 1, Settlement(Verdict.DEAD, "gave up"), 1000.0)
    redis.hset(f"{{mc}}:delivery:{ids[0]}", "tries", "x")
    assert [letter.event_id for letter in timed.dead()] == ids[1:]


def test_something_else_in_the_place_of_a_delivery_is_none(timed, happen, redis):
    broken, whole = happen(URL), happen(OTHER)
    timed.relay()
    redis.set(f"{{mc}}:delivery:{broken}", "a string")
    assert [delivery.event.id for delivery in take(timed)] == [whole]
    assert redis.zscore("{mc}:deliveries:due", broken) is None


def test_the_relay_goes_on_behind_a_broken_event_and_says_so(deliveries, happen, redis) -> None:
    happen(URL)
    ((entry, event),) = redis.xrange("{mc}:outbox")
    redis.xdel("{mc}:outbox", entry)
    redis.xadd("{mc}:outbox", {**event, b"seq": "x"})
    heard = []
    relay = Relay(deliveries, Tickets(redis), heard.append)
    stop = threading.Event()
    with capture_logs() as said:
        thread = threading.Thread(target=relay.run, args=(stop, 0.05))
        thread.start()
        try:
            wait_until(lambda: bool(heard), 30, "the relay turns")
            redis.delete("{mc}:outbox")
            redis.set("{mc}:outbox", "no stream")
            wait_until(lambda: any(line["event"] == "relay_broke" for line in said), 30, "a turn breaks")
            redis.delete("{mc}:outbox")
            turns = len(heard)
            wait_until(lambda: len(heard) > turns, 30, "the relay turns again")
        finally:
            stop.set()
            thread.join()
    (broken,) = [line for line in said if line["event"] == "event_broken"]
    assert broken["flaw"] == "seq is no count"


def test_a_spoiled_endpoint_counts_as_deleted_and_the_others_are_told(
    redis_url, server_clock, timed, jobs, submit, redis
):
    owners = Owners(redis_url, server_clock.library)
    for name in ("one", "two", "three", "four"):
        owners.add(name)
    redis.delete("{mc}:endpoint:we_one")
    redis.hdel("{mc}:endpoint:we_two", "url")
    redis.hdel("{mc}:endpoint:we_three", "events", "old_until", "failing_since")
    jobs.cancel(OWNER, submit(None))
    timed.relay()
    taken = {delivery.endpoint_id: delivery for delivery in take(timed)}
    assert set(taken) == {"we_three", "we_four"}
    failed = Settlement(Verdict.RETRY, "HTTP 500", 500, 1.0)
    assert timed.settle(taken["we_three"].id, 1, failed, 1000.0)
