"""The delivery records: relayed once, taken by one, settled by the newest try only."""

import threading

import pytest

from service.store.deliveries import Settlement, Verdict

URL = "https://example.com/hook"
KEEP_S = 1000.0
DELIVERED = Settlement(Verdict.DELIVERED, "delivered", 200)


def retry(delay_s: float) -> Settlement:
    return Settlement(Verdict.RETRY, "HTTP 500", 500, delay_s)


def take(store, limit=10, lease_s=60.0, per_endpoint=100, in_flight=None):
    return store.take(limit, lease_s, per_endpoint, in_flight or {})


def test_an_event_leaves_the_outbox_as_a_delivery_that_is_due(timed, happen, redis) -> None:
    event_id = happen(URL)
    stands = timed.relay()
    assert (stands.moved, stands.outbox, stands.due, stands.waiting, stands.dead) == (1, 0, 1, 1, 0)
    (delivery,) = take(timed)
    assert delivery.event.id == event_id
    assert delivery.event.type == "video.cancelled"
    assert delivery.event.data["status"] == "failed"
    assert (delivery.url, delivery.endpoint, delivery.tries) == (URL, "https://example.com", 1)
    assert redis.xlen("{mc}:outbox") == 0


def test_a_job_without_a_webhook_makes_no_delivery(timed, jobs, submit) -> None:
    jobs.cancel("default", submit(None))
    assert timed.relay().waiting == 0


def test_an_event_that_comes_twice_is_one_delivery(timed, happen, redis) -> None:
    happen(URL)
    ((_, fields),) = redis.xrange("{mc}:outbox")
    timed.relay()
    (delivery,) = take(timed)
    redis.xadd("{mc}:outbox", fields)
    stands = timed.relay()
    assert (stands.moved, stands.waiting, stands.due) == (1, 1, 0)
    assert timed.settle(delivery.event.id, 1, DELIVERED, KEEP_S)
    redis.xadd("{mc}:outbox", fields)
    assert timed.relay().waiting == 0


def test_a_relay_moves_no_more_than_its_limit(timed, happen) -> None:
    for _ in range(5):
        happen(URL)
    assert [timed.relay(2).moved for _ in range(4)] == [2, 2, 1, 0]


def test_the_oldest_are_taken_first_and_only_once(timed, happen, server_clock) -> None:
    ids = []
    for _ in range(3):
        ids.append(happen(URL))
        timed.relay()
        server_clock.advance(1)
    assert [each.event.id for each in take(timed, limit=2)] == ids[:2]
    assert [each.event.id for each in take(timed, limit=2)] == ids[2:]
    assert take(timed) == ()


def test_what_a_dead_notifier_held_comes_up_again(timed, happen, server_clock) -> None:
    event_id = happen(URL)
    timed.relay()
    take(timed, lease_s=60)
    server_clock.advance(59.9)
    assert take(timed) == ()
    server_clock.advance(0.2)
    (again,) = take(timed, lease_s=60)
    assert (again.event.id, again.tries) == (event_id, 2)
    assert not timed.settle(event_id, 1, DELIVERED, KEEP_S), "the first holder has lost its say"
    assert timed.settle(event_id, 2, DELIVERED, KEEP_S)


def test_a_failed_try_is_due_again_after_its_delay(timed, happen, server_clock) -> None:
    event_id = happen(URL)
    timed.relay()
    take(timed)
    assert timed.settle(event_id, 1, retry(30), KEEP_S)
    assert timed.settle(event_id, 1, retry(30), KEEP_S), "a repeat of the same answer is the same answer"
    server_clock.advance(29.9)
    assert take(timed) == ()
    server_clock.advance(0.2)
    assert [each.tries for each in take(timed)] == [2]


@pytest.mark.parametrize("back_s", [10.0, 900.0, 90_000.0])
def test_a_clock_that_is_set_back_holds_no_webhook_up(timed, happen, server_clock, back_s) -> None:
    """One is due, one waits for its next try, one is in somebody's hands: each for as long as before."""
    tried, held = happen(URL), happen(URL)
    timed.relay()
    assert {each.event.id for each in take(timed, lease_s=60)} == {tried, held}
    timed.settle(tried, 1, retry(30), KEEP_S)
    due = happen(URL)
    timed.relay()
    server_clock.advance(-back_s)
    assert timed.relay().due == 1
    assert [each.event.id for each in take(timed)] == [due]
    timed.settle(due, 1, DELIVERED, KEEP_S)
    server_clock.advance(29.9)
    assert timed.relay().due == 0
    server_clock.advance(0.2)
    assert timed.relay().due == 1
    assert [each.event.id for each in take(timed)] == [tried]
    server_clock.advance(30)
    assert [each.event.id for each in take(timed)] == [held]


@pytest.mark.parametrize("verdict", [Verdict.DELIVERED, Verdict.GONE, Verdict.DEAD])
def test_an_end_is_final_and_its_record_stays_for_a_while(
    timed, happen, redis, server_clock, verdict
) -> None:
    event_id = happen(URL)
    timed.relay()
    take(timed, lease_s=60)
    end = Settlement(verdict, "HTTP 410: no more", 410)
    assert timed.settle(event_id, 1, end, KEEP_S)
    assert timed.settle(event_id, 1, end, KEEP_S), "a repeat of the same answer is the same answer"
    assert not timed.settle(event_id, 1, retry(0), KEEP_S)
    server_clock.advance(3600)
    assert take(timed) == ()
    record = {
        name.decode(): text.decode() for name, text in redis.hgetall(f"{{mc}}:delivery:{event_id}").items()
    }
    assert (record["state"], record["last_status"]) == (verdict, "410")
    assert record["last_reason"] == "HTTP 410: no more"
    assert 0 < redis.ttl(f"{{mc}}:delivery:{event_id}") <= KEEP_S


def test_dead_letters_are_listed_until_their_records_go(timed, happen, redis, server_clock) -> None:
    dead = Settlement(Verdict.DEAD, "no answer within 15 s")
    for _ in range(2):
        event_id = happen(URL)
        timed.relay()
        take(timed)
        timed.settle(event_id, 1, dead, KEEP_S)
        assert timed.relay().dead == 1, "the one of the round before has gone by now"
        server_clock.advance(KEEP_S + 1)


def test_no_endpoint_gets_more_than_its_share(timed, happen, server_clock) -> None:
    for _ in range(6):
        happen("https://slow.example.com/a?b")
    timed.relay()
    server_clock.advance(1)  # what is due at the same moment comes in no promised order
    quick = happen("https://quick.example.com")
    timed.relay()
    in_flight = {"https://slow.example.com": 1}
    taken = take(timed, limit=5, per_endpoint=2, in_flight=in_flight)
    assert [each.endpoint for each in taken] == ["https://slow.example.com", "https://quick.example.com"]
    assert taken[1].event.id == quick
    in_flight["https://slow.example.com"] = 2
    assert take(timed, limit=5, per_endpoint=2, in_flight=in_flight) == ()


def test_a_flood_to_one_endpoint_delays_no_other(timed, happen, redis, server_clock) -> None:
    happen("https://slow.example.com")
    ((_, fields),) = redis.xrange("{mc}:outbox")
    for number in range(1100):
        redis.xadd("{mc}:outbox", fields | {b"id": f"evt_{number}"})
    timed.relay(2000)
    server_clock.advance(1)
    quick = happen("https://quick.example.com")
    timed.relay()
    in_flight = {"https://slow.example.com": 2}
    taken = []
    for _ in range(3):
        server_clock.advance(0.1)
        taken += take(timed, limit=5, per_endpoint=2, in_flight=in_flight)
    assert [each.event.id for each in taken] == [quick]
    assert timed.relay().due == 1101, "the flood is as due as before"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://User:p%40ss@Example.com:8443/a@b?c=d@e", "https://example.com:8443"),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80"),
        ("http://example.com?x", "http://example.com"),
    ],
)
def test_an_endpoint_is_scheme_host_and_port(timed, happen, url, endpoint) -> None:
    happen(url)
    timed.relay()
    assert take(timed)[0].endpoint == endpoint


def test_a_due_name_without_a_record_is_dropped(timed, redis) -> None:
    redis.zadd("{mc}:deliveries:due", {"evt_of_nobody": 1})
    assert take(timed) == ()
    assert redis.zcard("{mc}:deliveries:due") == 0


def test_many_takers_share_without_overlap(deliveries, happen) -> None:
    ids = {happen(URL) for _ in range(40)}
    deliveries.relay()
    taken: list[str] = []

    def take_all() -> None:
        while got := take(deliveries, limit=3):
            taken.extend(each.event.id for each in got)

    takers = [threading.Thread(target=take_all) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert len(taken) == len(ids)
    assert set(taken) == ids
