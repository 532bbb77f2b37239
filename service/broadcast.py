"""Events and previews of jobs to all who listen in this process: one reader, one connection, many ears.

A listener that cannot keep up is cut, never waited for and never stored for: it comes back with the id of the
last event that it saw, and what it missed is read from the job's own log.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from service.contracts.event import Event
from service.contracts.lifecycle import TERMINAL
from service.logs import get_logger
from service.refusals import TooManyListeners
from service.store.errors import StoreUnavailable
from service.store.event_log import NO_PREVIEW, EventLog, News, Shown

#: Events that wait for a listener to take them; one more, and it is cut.
ROOM = 64
#: Between two readings of a record that does not answer (seconds).
PAUSE_S = 0.5
PREVIEW_TYPE = "video.preview"

log = get_logger(__name__)


@dataclass(frozen=True)
class Told:
    """An event as every listener is sent it. `last`: nothing follows, the job has ended.

    `seq` None: a preview. It has no place in the job's story, and a newer one makes it worthless.
    """

    seq: int | None
    last: bool
    wire: bytes


def told(event: Event) -> Told:
    """The event in the format of server-sent events (WHATWG HTML, 9.2.6)."""
    facts = {"id": event.id, "type": event.type, "created_at": event.created_at, "data": event.data}
    return Told(event.seq, event.data.get("state") in TERMINAL, sse(event.type, event.id, facts))


def told_preview(job_id: str, shown: Shown) -> Told:
    """A preview in the same format. Without an id: `Last-Event-ID` stays what it was."""
    seen = {"id": job_id, "attempt": shown.attempt, **shown.preview.model_dump(mode="json")}
    seen["picture"] = f"data:image/webp;base64,{shown.preview.picture}"
    facts = {"type": PREVIEW_TYPE, "created_at": shown.created_at, "data": seen}
    return Told(None, False, sse(PREVIEW_TYPE, None, facts))


def sse(kind: str, event_id: str | None, facts: object) -> bytes:
    """One server-sent event; `facts` as JSON, which has no line breaks of its own."""
    data = json.dumps(facts, separators=(",", ":"))
    named = "" if event_id is None else f"id: {event_id}\n"
    return f"{named}event: {kind}\ndata: {data}\n\n".encode()


@dataclass
class Listener:
    """One stream to one client. `next` gives what is told, in order, each event once."""

    owner: str
    job_id: str
    _leave: Callable[["Listener"], None]
    _room: int
    previews: bool = True
    _waiting: deque[Told] = field(default_factory=deque)
    _preview: Told | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def tell(self, news: Told) -> None:
        """Called by the reader; never waits. Of previews the newest alone waits, behind all events."""
        if news.seq is None:
            if self.previews and not self.ended:
                self._preview = news
                self._changed.set()
        elif len(self._waiting) >= self._room:
            self.end()
        elif not self.ended:
            self._waiting.append(news)
            self._changed.set()

    def end(self) -> None:
        """Nothing more comes; what waits is dropped, for the client will ask for it again."""
        self.ended = True
        self._waiting.clear()
        self._preview = None
        self._changed.set()

    async def next(self, wait_s: float) -> Told | None:
        """What comes next, or None when nothing did within `wait_s` seconds or the stream has `ended`."""
        if not self._waiting and self._preview is None and not self.ended:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
        if self._waiting:
            return self._waiting.popleft()
        news, self._preview = self._preview, None
        return news

    def leave(self) -> None:
        """The client has gone. Safe to call twice."""
        self._leave(self)


@dataclass
class _Channel:
    """A job with listeners. `seq`: the last event that the reader has passed on; `place` and `preview`: the
    newest preview."""

    seq: int
    place: str = NO_PREVIEW
    preview: Told | None = None
    listeners: set[int] = field(default_factory=set)


class Broadcast:
    """Passes each event of a watched job, and what it looks like, to its listeners, while `run` runs.

    At most `most` listeners in all and `most_per_owner` of one owner.
    """

    def __init__(self, events: EventLog, *, most: int, most_per_owner: int, room: int = ROOM) -> None:
        self._log, self._most, self._most_per_owner, self._room = events, most, most_per_owner, room
        self._channels: dict[str, _Channel] = {}
        self._listeners: dict[int, Listener] = {}
        self._owners: Counter[str] = Counter()
        self._somebody = asyncio.Event()
        self._closed = False

    @property
    def listeners(self) -> int:
        """Listeners now."""
        return len(self._listeners)

    def join(self, owner: str, job_id: str, seq: int, *, previews: bool = True) -> Listener:
        """Listen to a job that stands at the event `seq`: what comes behind it is told.

        With `previews` the newest one comes first, if there is one, and then each as it is shown.

        Raises TooManyListeners. After `close` the listener has ended from the start.
        """
        if self._owners[owner] >= self._most_per_owner:
            raise TooManyListeners(
                f"you have {self._most_per_owner} streams of events open here, and may have no more at once"
            )
        if len(self._listeners) >= self._most:
            raise TooManyListeners(f"{self._most} streams of events are open in this process; poll instead")
        listener = Listener(owner, job_id, self._forget, self._room, previews)
        self._listeners[id(listener)] = listener
        self._owners[owner] += 1
        channel = self._channels.setdefault(job_id, _Channel(seq))
        channel.listeners.add(id(listener))
        if channel.preview is not None:
            listener.tell(channel.preview)
        self._somebody.set()
        if self._closed:
            listener.end()
        return listener

    def close(self) -> None:
        """End every stream, now and from now on: the process stops, and clients find another one."""
        self._closed = True
        self.end_all()

    def end_all(self) -> None:
        """End every stream; clients come back and say what they saw last."""
        for listener in self._listeners.values():
            listener.end()

    async def run(self, stop: asyncio.Event) -> None:
        """Read and pass on until `stop`. A record that is away is asked again.

        Meanwhile the streams stay open: a browser gives up for good on the 503 that it would be answered.
        Once the record is back they are all ended, because it may have lost the last second of its log.
        """
        away = False
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                if not self._channels:
                    self._somebody.clear()
                    waits = asyncio.create_task(self._somebody.wait())
                    await asyncio.wait({waits, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    waits.cancel()
                    continue
                try:
                    places = {job: (each.seq, each.place) for job, each in self._channels.items()}
                    news = await self._log.behind(places)
                except StoreUnavailable as error:
                    if not away:
                        log.warning("events_unavailable", detail=str(error))
                    away = True
                    await asyncio.wait({stopping}, timeout=PAUSE_S)
                    continue
                if away:
                    away = False
                    self.end_all()
                for job_id, its_news in news.items():
                    self._pass_on(job_id, its_news)
        finally:
            stopping.cancel()
            self.close()

    def _pass_on(self, job_id: str, its_news: News) -> None:
        channel = self._channels.get(job_id)
        if channel is None:
            return  # the last listener has left during the reading
        for event in its_news.events:
            if event.seq <= channel.seq:
                continue  # left and joined again during the reading
            channel.seq = event.seq
            self._tell(channel, told(event))
        if its_news.shown is not None:
            channel.place = its_news.shown.place
            channel.preview = told_preview(job_id, its_news.shown)
            self._tell(channel, channel.preview)

    def _tell(self, channel: _Channel, news: Told) -> None:
        if news.last:
            channel.preview = None
        for each in channel.listeners:
            self._listeners[each].tell(news)

    def _forget(self, listener: Listener) -> None:
        if self._listeners.pop(id(listener), None) is None:
            return
        self._owners[listener.owner] -= 1
        if not self._owners[listener.owner]:
            del self._owners[listener.owner]
        channel = self._channels[listener.job_id]
        channel.listeners.discard(id(listener))
        if not channel.listeners:
            del self._channels[listener.job_id]
