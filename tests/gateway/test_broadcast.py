"""One reader, many listeners: none of them can hold up the others."""

import asyncio
from collections.abc import Mapping
from typing import Any

from service.broadcast import Broadcast
from service.contracts.event import Event


class Readings(asyncio.Queue[dict[str, tuple[Event, ...]]]):
    """An event log that says what it is given."""

    async def behind(self, _seqs: Mapping[str, int]) -> dict[str, tuple[Event, ...]]:
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
            await log.put({"a": (event(seq),)})
            news = await quick.next(30)
            assert news is not None
            assert news.seq == seq
            assert slow.ended is (seq > 4)
        assert await slow.next(30) is None
        reader.cancel()
        await asyncio.wait({reader})
        assert quick.ended

    asyncio.run(scene())
