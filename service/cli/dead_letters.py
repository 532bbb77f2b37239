"""What an operator can do about webhooks that were given up: see them, and send them again.

Straight on the record, not over HTTP: it concerns every tenant, and whoever may do it can reach Redis anyway.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.stack.record import open_record
from service.stack.settings import StackSettings
from service.store.deliveries import DeadLetter, DeliveryStore
from service.store.script import Store

#: Letters looked at in one go; the record answers nobody else meanwhile.
MOST_AT_ONCE = 1000


@dataclass(frozen=True)
class DeadLetters:
    """The deliveries that were given up and are still kept. Every method may raise StoreUnavailable."""

    deliveries: DeliveryStore

    def lines(self) -> list[str]:
        """One line for each of the oldest MOST_AT_ONCE: when, which event, where to, what came of it."""
        return [_line(letter) for letter in self.deliveries.dead(MOST_AT_ONCE)]

    def redeliver(self, event_ids: Sequence[str] | None) -> tuple[int, list[str]]:
        """Makes these due again (None: all there are now); how many, and which ids are no dead letters.

        The whole list is read first: a letter that dies again meanwhile is not sent for ever.
        """
        if event_ids is None:
            return sum(self.deliveries.redeliver(event_id) for event_id in self._all()), []
        unknown = [event_id for event_id in event_ids if not self.deliveries.redeliver(event_id)]
        return len(event_ids) - len(unknown), unknown

    def _all(self) -> list[str]:
        limit = MOST_AT_ONCE
        while len(letters := self.deliveries.dead(limit)) == limit:
            limit *= 2
        return [letter.event_id for letter in letters]


@contextmanager
def open_dead_letters(settings: StackSettings, state_dir: Path) -> Iterator[DeadLetters]:
    """Those of REDIS_URL or, without it, of the embedded server of this state folder.

    Raises EmbeddedValkeyMissing where there is neither.
    """
    with open_record(settings, state_dir) as redis:
        yield DeadLetters(DeliveryStore(Store(redis)))


def _line(letter: DeadLetter) -> str:
    moment = datetime.fromtimestamp(letter.given_up_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    ending = f"{letter.tries} tries: {letter.reason}"
    return "  ".join((moment, letter.event_id, letter.type, letter.endpoint, ending))
