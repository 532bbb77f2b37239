"""The storage as an event loop reaches it."""

import asyncio
import threading
import time
from typing import Any

from service.access import STORAGE_THREADS, Shelf


class HangingStore:
    """A storage that does not answer until `back`; its links need no answer."""

    def __init__(self) -> None:
        self.back = threading.Event()

    def head(self, _key: str) -> Any:
        self.back.wait(10)

    def link(self, key: str, *_: object) -> str:
        return f"https://example.com/{key}"


async def test_a_link_does_not_wait_for_calls_to_a_storage_that_hangs() -> None:
    store: Any = HangingStore()
    shelf = Shelf(store)
    waiting = [asyncio.create_task(shelf.head("a")) for _ in range(STORAGE_THREADS)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    try:
        assert await shelf.link("a", 60, "a.mp4") == "https://example.com/a"
        assert time.monotonic() - began < 5
    finally:
        store.back.set()
        await asyncio.gather(*waiting)
