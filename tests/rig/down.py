"""A storage that is away, or there and refuses what is written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.storage.artifact_store import StorageUnavailable

AWAY = StorageUnavailable("no route to bucket secret-name")


@dataclass
class Down:
    """Refuses the next `times` writes. While it is `away` it does nothing at all."""

    storage: Any
    times: float = math.inf
    away: bool = False
    tries: int = 0

    def __getattr__(self, method: str) -> Any:
        return getattr(self.storage, method)

    def check(self) -> None:
        self._be_there()

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self._be_there()
        whole: Iterator[bytes] = self.storage.read(key, start, end)
        return whole

    def put(self, key: str, body: bytes, content_type: str) -> Any:
        self.tries += 1
        self._be_there()
        if self.times > 0:
            self.times -= 1
            raise AWAY
        return self.storage.put(key, body, content_type)

    def _be_there(self) -> None:
        if self.away:
            raise AWAY
