"""The models that requests can ask for, as workers have announced them."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.access import reaching_record
from service.remembered import Remembered
from service.store.nouns import CatalogueEntry
from service.store.store import AsyncJobStore


@dataclass(frozen=True)
class Catalogue:
    """Every model that is or was served: those with live workers first, then by name.

    Every method may raise RecordUnavailable.
    """

    jobs: AsyncJobStore
    recent: Remembered[Mapping[str, CatalogueEntry]]

    async def now(self) -> list[CatalogueEntry]:
        """As the record has it."""
        async with reaching_record():
            return _in_order(await self.jobs.catalogue())

    async def lately(self, wanted: str | None) -> list[CatalogueEntry]:
        """As it was within the last second or, where the model asked for is not in that, now."""
        entries = self.recent.fresh()
        if entries is None:
            async with reaching_record():
                entries = await self.recent.get()
        if entries and (wanted is None or wanted in entries):
            return _in_order(entries)
        return await self.now()


def _in_order(entries: Mapping[str, CatalogueEntry]) -> list[CatalogueEntry]:
    return sorted(entries.values(), key=lambda entry: (entry.live_workers == 0, entry.spec.name))
