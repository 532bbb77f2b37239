"""What owners do with webhook endpoints, for tests that know no event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from service.store.connections import connect_async
from service.store.delivery_log import DeliveryLog, Of
from service.store.endpoints import EndpointStore
from service.store.script import AsyncStore, Library

OWNER, URL = "default", "https://receiver.example/hook"
OLD, NEW = ("whsec_" + letter * 43 + "=" for letter in "ab")

Call = Callable[[EndpointStore, DeliveryLog], Awaitable[Any]]


class Owners:
    """Asks the record at `url` by the scripts of `library`, which may carry a test's own clock."""

    def __init__(self, url: str, library: Library) -> None:
        self._url, self._library = url, library

    def __call__(self, call: Call) -> Any:
        async def asked() -> Any:
            async with connect_async(self._url, 20) as redis:
                store = AsyncStore(redis, self._library)
                return await call(EndpointStore(store), DeliveryLog(store))

        return asyncio.run(asked())

    def add(
        self,
        name: str = "one",
        url: str = URL,
        events: tuple[str, ...] = (),
        tenant: str = OWNER,
        secret: str = OLD,
        limit: int = 10,
    ) -> Any:
        return self(lambda ends, _: ends.add(tenant, f"we_{name}", url, events, "", secret, limit))

    def get(self, name: str = "one", tenant: str = OWNER) -> Any:
        return self(lambda ends, _: ends.get(tenant, f"we_{name}"))

    def log(
        self,
        of: Of = Of.ENDPOINT,
        owner_id: str = "we_one",
        after: str | None = None,
        limit: int = 100,
        tenant: str = OWNER,
    ) -> Any:
        return self(lambda _, log: log.page(tenant, of, owner_id, after, limit))
