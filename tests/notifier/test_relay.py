"""The relay wakes as many couriers as are needed, and the ticket that RQ carries reaches the courier."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis
from rig.processes import wait_until

from service.notifier.backoff import Backoff
from service.notifier.delivery import Courier, Limits, run_ticket, serve_tickets
from service.notifier.main import TicketWorker
from service.notifier.post import Poster
from service.notifier.relay import Relay
from service.queue import DELIVERY_QUEUE, Tickets
from service.ssrf import Guard, pinned_client
from service.store.connections import connect_sync
from service.store.deliveries import DeliveryStore, Relayed
from service.store.script import Store

URL = "https://example.com/hook"


def test_due_deliveries_get_tickets_and_no_more_than_a_few(deliveries, redis, happen) -> None:
    tickets = Tickets(redis)
    told: list[Relayed] = []
    relay = Relay(deliveries, tickets, told.append)
    assert relay.turn().moved == 0
    assert tickets.waiting(DELIVERY_QUEUE) == 0
    happen(URL)
    relay.turn()
    assert tickets.waiting(DELIVERY_QUEUE) == 1
    relay.turn()
    assert tickets.waiting(DELIVERY_QUEUE) == 1, "the ticket still lies there"
    for _ in range(250):
        happen(URL)
    assert relay.turn().due == 251, "one turn empties the outbox, however full it is"
    assert tickets.waiting(DELIVERY_QUEUE) == 4
    assert [fact.due for fact in told] == [0, 1, 1, 251]


def test_a_lost_ticket_is_replaced(deliveries, redis, happen) -> None:
    tickets = Tickets(redis)
    relay = Relay(deliveries, tickets, lambda _: None)
    happen(URL)
    relay.turn()
    redis.delete(f"rq:queue:{DELIVERY_QUEUE}")
    relay.turn()
    assert tickets.waiting(DELIVERY_QUEUE) == 1


@pytest.fixture
def own_signals() -> Iterator[None]:
    """RQ takes SIGINT and SIGTERM over in the process where it works; afterwards they are ours again."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("own_signals")
def test_a_signal_from_before_rq_listened_is_heard(redis_url) -> None:
    ending = threading.Event()
    ending.set()
    with connect_sync(redis_url) as rq_redis:
        started = time.monotonic()
        TicketWorker(rq_redis, ending).work(logging_level="WARNING")
        assert time.monotonic() - started < 5, "it would sleep for 15 s"


@pytest.mark.usefixtures("own_signals")
def test_a_ticket_of_rq_reaches_the_courier(deliveries, redis, redis_url, signer, inbox, happen) -> None:
    happen(inbox.url)
    poster = Poster(pinned_client(Guard(allow_private=True), connect_timeout_s=1, timeout_s=1), signer)
    courier = Courier(deliveries, poster, Backoff(), Limits(), lambda _: None)
    courier.start()
    serve_tickets(courier)
    try:
        Relay(deliveries, Tickets(redis), lambda _: None).turn()
        with connect_sync(redis_url) as rq_redis:
            TicketWorker(rq_redis, threading.Event()).work(burst=True, logging_level="WARNING")
        inbox.wait_for(1)
        assert run_ticket() == 0, "a ticket without work is nothing"
    finally:
        courier.stop(5)
    assert deliveries.relay().waiting == 0


def test_an_outage_is_waited_out(redis_url, happen, deliveries) -> None:
    """The relay's connection is cut again and again; it goes on as soon as it is let."""
    ending, turned = threading.Event(), threading.Event()
    with connect_sync(redis_url) as own:
        name = "relay-under-test"
        own.connection_pool.connection_kwargs["client_name"] = name
        relay = Relay(DeliveryStore(Store(own)), Tickets(own), lambda _: turned.set())
        loop = threading.Thread(target=relay.run, args=(ending, 0.01))
        loop.start()
        try:
            assert turned.wait(30)
            with connect_sync(redis_url) as killer:
                for _ in range(5):
                    _cut(killer, name)
            event_id = happen(URL)
            turned.clear()
            assert turned.wait(30)
            wait_until(lambda: deliveries.relay().waiting == 1, 30, f"{event_id} is relayed")
        finally:
            ending.set()
            loop.join()


def _cut(killer: Redis, name: str) -> None:
    for client in killer.client_list():
        if client["name"] == name:
            killer.client_kill_filter(_id=client["id"])
