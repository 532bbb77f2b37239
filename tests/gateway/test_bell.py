"""The bell rings for every job, and no client waits for it."""

import asyncio
import threading

from rig.processes import wait_until

from service.bell import ENOUGH_S, Bell
from service.queue import Tickets
from service.store.connections import connect_sync
from service.store.errors import StoreUnavailable


class SlowTickets(Tickets):
    """Pushes when it is let, and writes down what."""

    def __init__(self) -> None:
        self.let, self.pushed, self.away, self.room = threading.Event(), [], 0, True

    def push(self, pool: str, count: int = 1) -> bool:
        assert self.let.wait(30)
        self.pushed.append((pool, count))
        if len(self.pushed) <= self.away:
            raise StoreUnavailable("no tickets now")
        return self.room


def rung(tickets: SlowTickets, *pools: str) -> list[tuple[str, int]]:
    """What is pushed for wishes of which all but the first come while its ring is under way."""

    async def ring() -> None:
        bell = Bell(tickets)
        bell.work_in(pools[0])
        await asyncio.sleep(0)  # the first ring has begun
        for pool in pools[1:]:
            bell.work_in(pool)
        tickets.let.set()
        await bell.aclose()

    asyncio.run(ring())
    return tickets.pushed


def test_what_comes_while_it_rings_is_one_ring_more() -> None:
    pushed = rung(SlowTickets(), "a", "a", "a", "b")
    assert pushed[0] == ("a", 1)
    assert sorted(pushed[1:]) == [("a", 2), ("b", 1)]


def test_a_lost_ring_keeps_none_of_the_others() -> None:
    tickets = SlowTickets()
    tickets.away = 1
    assert rung(tickets, "a", "b") == [("a", 1), ("b", 1)]


async def test_where_enough_tickets_lie_nobody_rings_for_a_moment() -> None:
    tickets = SlowTickets()
    tickets.let.set()
    tickets.room = False
    bell = Bell(tickets)
    for _ in range(3):  # the first one finds that there are enough
        bell.work_in("full")
        await bell.aclose()
    assert tickets.pushed == [("full", 1)]
    bell.work_in("other")  # of which nothing is known
    await bell.aclose()
    assert tickets.pushed[1:] == [("other", 1)]
    await asyncio.sleep(ENOUGH_S)
    bell.work_in("full")
    await bell.aclose()
    assert tickets.pushed[2:] == [("full", 1)]


def test_no_more_tickets_than_are_of_use(redis_url: str, empty_record: None) -> None:
    with connect_sync(redis_url) as redis:
        tickets = Tickets(redis)
        assert tickets.push("default", 3)
        assert tickets.waiting("gpu-default") == 3
        tickets.push("default", 1000)
        wait_until(lambda: tickets.waiting("gpu-default") == 256, 30, "the queue is as long as is of use")
        assert not tickets.push("default", 1)
        assert tickets.waiting("gpu-default") == 256
