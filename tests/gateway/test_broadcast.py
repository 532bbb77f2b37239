"""One reader, many listeners: none of them can hold up the others."""

import asyncio
from collections.abc import Mapping
from typing import Any

from service.broadcast import Broadcast
from service.contracts.event import Event
from service.contracts.preview import Preview, Shows
from service.store.event_log import News, Shown


class Readings(asyncio.Queue[dict[str, News]]):
    """An event log that says what it is given."""

    async def behind(self, _places: Mapping[str, tuple[int, str]]) -> dict[str, News]:
        return await self.get()


def event(seq: int) -> Event:
    facts = {"state": "running"}
    return Event(id=f"e{seq}", seq=seq, type="t", job_id="a", tenant="x", created_at=0, data=facts)


def test_a_listener_that_does_not_keep_up_is_cut_and_costs_no_other() -> None:
    async def scene() -> None:
        log: Any = Readings()
        broadcast = Broadcast(log, most=9, most_per_owner=9, room=4)
        slow, quick = broadcast.join("x", "a", 0), broadcast.join("x", "a", 0)
        stop = asyncio.Event()
        reader = asyncio.create_task(broadcast.run(stop))
        for seq in range(1, 10):
            await log.put({"a": News((event(seq),))})
            news = await quick.next(30)
            assert news is not None
            assert news.seq == seq
            assert slow.ended is (seq > 4)
        assert await slow.next(30) is None
        reader.cancel()
        await asyncio.wait({reader})
        assert quick.ended

    asyncio.run(scene())


def shown(number: int) -> Shown:
    preview = Preview(
        shows=Shows.VIDEO, step=number, steps=9, width=1, height=1, frames=1, picture=f"p{number}"
    )
    return Shown(f"1-{number}", 1, 0.0, preview)


def test_of_previews_a_slow_listener_keeps_the_newest_and_a_late_one_gets_it() -> None:
    async def scene() -> None:
        log: Any = Readings()
        broadcast = Broadcast(log, most=9, most_per_owner=9, room=4)
        slow, quick = broadcast.join("x", "a", 0), broadcast.join("x", "a", 0)
        without = broadcast.join("x", "a", 0, previews=False)
        reader = asyncio.create_task(broadcast.run(asyncio.Event()))
        for number in range(1, 10):
            await log.put({"a": News(shown=shown(number))})
            news = await quick.next(30)
            assert news is not None
            assert f"p{number}".encode() in news.wire
        await log.put({"a": News((event(1),))})
        assert (await quick.next(30)) is not None
        late = broadcast.join("x", "a", 1)
        first = await slow.next(30)
        assert first is not None
        assert first.seq == 1, "events go before"
        for listener in (slow, late):
            newest = await listener.next(30)
            assert newest is not None
            assert (newest.seq, b"p9" in newest.wire, b"id:" in newest.wire) == (None, True, False)
        only = await without.next(30)
        assert only is not None
        assert only.seq == 1
        reader.cancel()
        await asyncio.wait({reader})

    asyncio.run(scene())


def test_previews_take_no_event_s_room_and_cut_nobody() -> None:
    async def scene() -> None:
        log: Any = Readings()
        broadcast = Broadcast(log, most=9, most_per_owner=9, room=4)
        full, quick = broadcast.join("x", "a", 0), broadcast.join("x", "a", 0)
        reader = asyncio.create_task(broadcast.run(asyncio.Event()))
        for seq in range(1, 5):
            await log.put({"a": News((event(seq),), shown(seq))})
            assert (await quick.next(30)) is not None
            assert (await quick.next(30)) is not None
        assert not full.ended
        told = [await full.next(30) for _ in range(5)]
        assert [news and news.seq for news in told] == [1, 2, 3, 4, None]
        assert told[-1] is not None, "the newest preview comes behind them"
        reader.cancel()
        await asyncio.wait({reader})

    asyncio.run(scene())
