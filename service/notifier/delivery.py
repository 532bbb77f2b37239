"""The courier: takes due deliveries, tries many of them at once, and settles each by what came of it.

An RQ ticket only says that something may be due. A try runs in the courier's own event loop and the ticket
does not wait for it, so a receiver that keeps us waiting for 15 s delays nobody else.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from service.logs import get_logger
from service.notifier.backoff import Backoff
from service.notifier.post import Answer
from service.store.deliveries import PATIENCE_S, Delivery, DeliveryStore, Settled, Settlement, Verdict
from service.store.errors import StoreUnavailable

log = get_logger(__name__)


class Posts(Protocol):
    """Whatever can try a delivery; the real one is `post.Poster`."""

    async def post(self, delivery: Delivery) -> Answer:
        """Never raises for anything that a receiver does."""
        ...

    async def aclose(self) -> None:
        """No try comes after this."""
        ...


@dataclass(frozen=True)
class Tried:
    """The fact of one try, for those who count: `seconds` from its start to its answer.

    `disabled_endpoint`: its owner's endpoint gets nothing more because of it.
    """

    delivery: Delivery
    answer: Answer
    settlement: Settlement
    seconds: float
    disabled_endpoint: bool = False


@dataclass(frozen=True)
class Limits:
    """`slots` tries at once, at most `per_endpoint` of them to one host; a try holds its delivery `lease_s`.

    The lease must outlast the longest try, or a slow receiver would get the event twice. An ended delivery's
    record is kept for `keep_s`. An owner's endpoint that only fails is borne for `patience_s`.
    """

    slots: int = 32
    per_endpoint: int = 4
    lease_s: float = 60.0
    keep_s: float = 7 * 24 * 3600.0
    patience_s: float = PATIENCE_S


def judge(delivery: Delivery, answer: Answer, backoff: Backoff) -> Settlement:
    """2xx, 410 and a closed endpoint end a delivery; all else is tried again until the back-off ends."""
    if delivery.closed:
        return Settlement(Verdict.DROPPED, delivery.closed)
    if answer.delivered:
        return Settlement(Verdict.DELIVERED, answer.reason, answer.status)
    if answer.gone:
        return Settlement(Verdict.GONE, answer.reason, answer.status)
    counted = delivery.tries - delivery.forgiven
    wait_s = None if answer.hopeless else backoff.wait_s(counted, answer.retry_after_s)
    if wait_s is None:
        return Settlement(Verdict.DEAD, answer.reason, answer.status)
    return Settlement(Verdict.RETRY, answer.reason, answer.status, wait_s)


class Courier:
    """Runs tries in a thread with an event loop of its own. `serve` is called by one thread at a time.

    `observers` hear of every settled try, in the courier's thread; they must be quick and must not raise.
    """

    def __init__(
        self,
        deliveries: DeliveryStore,
        posts: Posts,
        backoff: Backoff,
        limits: Limits,
        *observers: Callable[[Tried], None],
    ) -> None:
        self._deliveries = deliveries
        self._posts = posts
        self._backoff = backoff
        self._limits = limits
        self._observers = observers
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="courier", daemon=True)
        self._changed = threading.Condition()
        self._in_flight: Counter[str] = Counter()  # endpoint -> tries under way
        self._tries: set[Future[None]] = set()

    def start(self) -> None:
        self._thread.start()

    def serve(self, wait_s: float = 2.0) -> int:
        """Takes what is due, as far as slots are free, and starts a try of each; returns how many.

        With every slot in use it first waits up to `wait_s` for one. Raises StoreUnavailable.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight.total() < self._limits.slots, wait_s)
            free = self._limits.slots - self._in_flight.total()
            in_flight = {endpoint: count for endpoint, count in self._in_flight.items() if count}
        if free <= 0:
            return 0
        limits = self._limits
        taken = self._deliveries.take(free, limits.lease_s, limits.per_endpoint, in_flight)
        for delivery in taken:
            self._begin(delivery)
        return len(taken)

    def settled(self, wait_s: float) -> bool:
        """Waits until no try is under way; False if some still are after `wait_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._tries, wait_s)

    def stop(self, grace_s: float) -> None:
        """Lets tries end for `grace_s` seconds. What is cut off comes up again when its lease is over."""
        if not self.settled(grace_s):
            log.warning("tries_cut_off", count=len(self._tries))
        asyncio.run_coroutine_threadsafe(self._wind_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begin(self, delivery: Delivery) -> None:
        with self._changed:
            self._in_flight[delivery.endpoint] += 1
            tried = asyncio.run_coroutine_threadsafe(self._try(delivery), self._loop)
            self._tries.add(tried)
        tried.add_done_callback(lambda done: self._end(delivery, done))

    def _end(self, delivery: Delivery, tried: "Future[None]") -> None:
        with self._changed:
            self._tries.discard(tried)
            self._in_flight[delivery.endpoint] -= 1
            if not self._in_flight[delivery.endpoint]:
                del self._in_flight[delivery.endpoint]
            self._changed.notify_all()
        if not tried.cancelled() and (bug := tried.exception()):
            # The delivery is not lost: its lease runs out and it is taken again.
            log.error("settlement_broke", event_id=delivery.event.id, exc_info=bug)

    async def _try(self, delivery: Delivery) -> None:
        started = time.monotonic()
        try:
            # What is closed is settled like a try, so that one place writes what becomes of deliveries.
            answer = Answer(None, delivery.closed) if delivery.closed else await self._posts.post(delivery)
        except Exception as bug:
            # Counted as a failed try: a delivery that trips a bug must not be tried for ever.
            log.error("try_broke", event_id=delivery.event.id, exc_info=bug)
            answer = Answer(None, f"the try broke: {type(bug).__name__}")
        seconds = time.monotonic() - started
        settlement = judge(delivery, answer, self._backoff)
        settled = await self._settle(delivery, settlement, until=started + self._limits.lease_s)
        if settled:
            disabled = settled is Settled.ENDPOINT_DISABLED
            for observe in self._observers:
                observe(Tried(delivery, answer, settlement, seconds, disabled))
            self._report(delivery, settlement, disabled)

    def _report(self, delivery: Delivery, settlement: Settlement, disabled: bool) -> None:
        """The operator hears of what is given up; the path of the URL may be a secret and stays out."""
        if settlement.verdict is Verdict.DEAD:
            log.warning(
                "webhook_given_up",
                event_id=delivery.event.id,
                endpoint=delivery.endpoint,
                tries=delivery.tries,
                reason=settlement.reason,
            )
        if disabled:
            log.warning(
                "webhook_endpoint_disabled",
                endpoint_id=delivery.endpoint_id,
                owner=delivery.event.tenant,
                endpoint=delivery.endpoint,
                reason=settlement.reason,
            )

    async def _settle(self, delivery: Delivery, settlement: Settlement, until: float) -> Settled:
        """Writes the outcome, again and again while Redis is away, for as long as the lease is ours."""
        pause = 0.1
        while True:
            try:
                return await asyncio.to_thread(
                    self._deliveries.settle,
                    delivery.id,
                    delivery.tries,
                    settlement,
                    self._limits.keep_s,
                    self._limits.patience_s,
                )
            except StoreUnavailable as problem:
                if time.monotonic() + pause > until:
                    log.warning("outcome_not_written", event_id=delivery.event.id, reason=str(problem))
                    return Settled.STALE
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _wind_up(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._posts.aclose()
        await self._loop.shutdown_default_executor()


_served_by: list[Courier] = []


def serve_tickets(courier: Courier) -> None:
    """From now on, RQ tickets of this process go to `courier`."""
    _served_by[:] = [courier]


def run_ticket() -> int:
    """What RQ calls, by name (see service/queue.py), for each ticket. Answers how many tries it started."""
    return _served_by[0].serve() if _served_by else 0
