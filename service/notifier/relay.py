"""The loop that keeps webhooks moving: outbox to deliveries, and a ticket for whatever is due."""

import threading
from collections.abc import Callable

from service.logs import get_logger
from service.queue import DELIVERY_QUEUE, Tickets
from service.store.deliveries import DeliveryStore, Relayed
from service.store.errors import StoreUnavailable

log = get_logger(__name__)

_BATCH = 100
_MOST_TICKETS = 4  # each ticket serves many deliveries; more would only be empty looks


class Relay:
    """`observe` hears how things stand after every turn. Any number of notifiers may relay at once."""

    def __init__(
        self, deliveries: DeliveryStore, tickets: Tickets, observe: Callable[[Relayed], None]
    ) -> None:
        self._deliveries = deliveries
        self._tickets = tickets
        self._observe = observe
        self._away = False

    def turn(self) -> Relayed:
        """Relays all that is in the outbox and tops the tickets up. Raises StoreUnavailable."""
        stands = self._relay()
        while stands.moved == _BATCH:
            stands = self._relay()
        if stands.due:
            waiting = self._tickets.waiting(DELIVERY_QUEUE)
            for _ in range(min(stands.due, _MOST_TICKETS) - waiting):
                self._tickets.push_delivery()
        self._observe(stands)
        return stands

    def _relay(self) -> Relayed:
        stands = self._deliveries.relay(_BATCH)
        for event_id, flaw in stands.broken:
            log.error("event_broken", event_id=event_id, flaw=flaw)
        return stands

    def run(self, stop: threading.Event, every_s: float) -> None:
        """Turns every `every_s` seconds until `stop`; an outage of Redis is waited out, and said once.

        Whatever else goes wrong is logged: a turn that breaks must not be the last one.
        """
        while not stop.is_set():
            try:
                self.turn()
            except StoreUnavailable as problem:
                if not self._away:
                    log.warning("redis_away", reason=str(problem))
                self._away = True
            except Exception:
                log.exception("relay_broke")
            else:
                if self._away:
                    log.info("redis_back")
                self._away = False
            stop.wait(every_s)
