"""The store as its callers hold it: one method per command, blocking or asyncio.

What each command promises is said once, at the function of the same name in submitting.py, commands.py,
roster.py or forecasts.py. Every method raises StoreUnavailable when Redis does not answer, and may be called
again after that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.contracts.artifact import Artifact
from service.contracts.event import Event
from service.contracts.job import VideoJob
from service.contracts.model_spec import ModelSpec
from service.contracts.preview import Preview
from service.contracts.request import VideoRequest
from service.store import commands, forecasts, roster, submitting
from service.store.gauges import NO_POOL, Snapshot
from service.store.nouns import (
    ApproveOutcome,
    Beat,
    CancelOutcome,
    CatalogueEntry,
    Claim,
    DeleteOutcome,
    Doomed,
    Finished,
    Forecast,
    Gone,
    Note,
    Order,
    Outcome,
    Page,
    Reaped,
    Seen,
    Submission,
    Submitted,
)
from service.store.script import AsyncStore, Store

MAX_LOST = 3
"""A job that was under this many workers when they died is taken to be the reason."""

REAP_EVERY_S = 0.5
ALIVE_S = 15.0
"""A worker that has not announced itself for this long counts as gone (seconds)."""


@dataclass(frozen=True)
class JobStore:
    """The record of truth over a blocking client; see commands.py for each promise."""

    store: Store

    def submit(self, submission: Submission) -> Submitted:
        return self.store.run(submitting.submit(submission))

    def known(self, tenant: str, idempotency_key: str, digest: str) -> Submitted | None:
        return self.store.run(submitting.known(tenant, idempotency_key, digest))

    def get(self, tenant: str, job_id: str) -> VideoJob | None:
        return self.store.run(commands.get(tenant, job_id))

    def look(self, tenant: str, job_id: str) -> Seen | None:
        return self.store.run(commands.look(tenant, job_id))

    def gone(self, tenant: str, job_id: str) -> Gone | None:
        return self.store.run(commands.gone(tenant, job_id))

    def record(self, job_id: str) -> VideoJob | None:
        return self.store.run(commands.record(job_id))

    def list_jobs(
        self,
        tenant: str,
        after: str | None = None,
        limit: int = 20,
        order: Order = Order.DESC,
        metadata: Mapping[str, str] | None = None,
    ) -> Page:
        return self.store.run(commands.list_jobs(tenant, after, limit, order, metadata))

    def events(self, tenant: str, job_id: str, after: int = 0, limit: int = 200) -> tuple[Event, ...]:
        return self.store.run(commands.events(tenant, job_id, after, limit))

    def ahead(self, job_ids: Sequence[str]) -> dict[str, Forecast]:
        return self.store.run(forecasts.ahead(job_ids))

    def estimate(self, pool: str, request: VideoRequest) -> Forecast:
        return self.store.run(forecasts.estimate(pool, request))

    def cancel(self, tenant: str, job_id: str) -> CancelOutcome:
        return self.store.run(commands.cancel(tenant, job_id))

    def delete(self, tenant: str, job_id: str) -> DeleteOutcome:
        return self.store.run(commands.delete(tenant, job_id))

    def approve(self, tenant: str, job_id: str, chosen: str, keyframe: Artifact) -> ApproveOutcome:
        return self.store.run(commands.approve(tenant, job_id, chosen, keyframe))

    def claim(
        self,
        pool: str,
        worker: str,
        limit: int,
        lease_s: float,
        models: Sequence[str],
        known: Sequence[tuple[str, int]] = (),
    ) -> tuple[Claim, ...]:
        taken = self.store.run(commands.claim(pool, worker, limit, lease_s, models, known))
        for job_id, attempt in taken.unreadable:
            self.store.run(commands.finish(job_id, attempt, commands.UNREADABLE))
        return taken.claims

    def beat(self, worker: str, held: Sequence[tuple[str, int]], lease_s: float) -> dict[str, Beat]:
        return self.store.run(commands.beat(worker, held, lease_s))

    def note(self, job_id: str, attempt: int, progress: Note) -> bool:
        return self.store.run(commands.note(job_id, attempt, progress))

    def preview(self, job_id: str, attempt: int, number: int, shown: Preview) -> bool:
        return self.store.run(commands.preview(job_id, attempt, number, shown))

    def finish(
        self, job_id: str, attempt: int, outcome: Outcome, gpu_seconds: float | None = None
    ) -> Finished:
        return self.store.run(commands.finish(job_id, attempt, outcome, gpu_seconds))

    def release(
        self,
        job_id: str,
        attempt: int,
        reason: str,
        *,
        counts_as_loss: bool = False,
        alone: bool = False,
        max_lost: int = MAX_LOST,
    ) -> bool:
        return self.store.run(commands.release(job_id, attempt, reason, counts_as_loss, alone, max_lost))

    def hold(self, job_id: str, attempt: int, approval_s: float, spent: Mapping[str, float]) -> bool:
        return self.store.run(commands.hold(job_id, attempt, approval_s, spent))

    def reap(self, lease_s: float, max_lost: int = MAX_LOST, every_s: float = REAP_EVERY_S) -> Reaped:
        return self.store.run(commands.reap(lease_s, max_lost, every_s))

    def announce(self, worker: str, pool: str, specs: Sequence[ModelSpec], alive_s: float = ALIVE_S) -> bool:
        return self.store.run(roster.announce(worker, pool, specs, alive_s))

    def retire(self, worker: str) -> None:
        self.store.run(roster.retire(worker))

    def catalogue(self) -> dict[str, CatalogueEntry]:
        return self.store.run(roster.catalogue())

    def snapshot(self) -> Snapshot:
        return self.store.run(roster.snapshot())

    def doomed(self, limit: int = 100) -> tuple[Doomed, ...]:
        return self.store.run(commands.doomed(limit))

    def purge(self, job_id: str) -> bool:
        return self.store.run(commands.purge(job_id))

    def queue_depth(self, pool: str) -> int:
        """Jobs of the pool that wait to be claimed."""
        return self.snapshot().pools.get(pool, NO_POOL).ready

    def live_workers(self, pool: str) -> int:
        """Workers of the pool that announced themselves lately."""
        return self.snapshot().pools.get(pool, NO_POOL).live_workers


@dataclass(frozen=True)
class AsyncJobStore:
    """The record of truth over an asyncio client; see commands.py for each promise."""

    store: AsyncStore

    async def submit(self, submission: Submission) -> Submitted:
        return await self.store.run(submitting.submit(submission))

    async def known(self, tenant: str, idempotency_key: str, digest: str) -> Submitted | None:
        return await self.store.run(submitting.known(tenant, idempotency_key, digest))

    async def get(self, tenant: str, job_id: str) -> VideoJob | None:
        return await self.store.run(commands.get(tenant, job_id))

    async def look(self, tenant: str, job_id: str) -> Seen | None:
        return await self.store.run(commands.look(tenant, job_id))

    async def record(self, job_id: str) -> VideoJob | None:
        return await self.store.run(commands.record(job_id))

    async def gone(self, tenant: str, job_id: str) -> Gone | None:
        return await self.store.run(commands.gone(tenant, job_id))

    async def list_jobs(
        self,
        tenant: str,
        after: str | None = None,
        limit: int = 20,
        order: Order = Order.DESC,
        metadata: Mapping[str, str] | None = None,
    ) -> Page:
        return await self.store.run(commands.list_jobs(tenant, after, limit, order, metadata))

    async def events(self, tenant: str, job_id: str, after: int = 0, limit: int = 200) -> tuple[Event, ...]:
        return await self.store.run(commands.events(tenant, job_id, after, limit))

    async def ahead(self, job_ids: Sequence[str]) -> dict[str, Forecast]:
        return await self.store.run(forecasts.ahead(job_ids))

    async def estimate(self, pool: str, request: VideoRequest) -> Forecast:
        return await self.store.run(forecasts.estimate(pool, request))

    async def cancel(self, tenant: str, job_id: str) -> CancelOutcome:
        return await self.store.run(commands.cancel(tenant, job_id))

    async def delete(self, tenant: str, job_id: str) -> DeleteOutcome:
        return await self.store.run(commands.delete(tenant, job_id))

    async def approve(self, tenant: str, job_id: str, chosen: str, keyframe: Artifact) -> ApproveOutcome:
        return await self.store.run(commands.approve(tenant, job_id, chosen, keyframe))

    async def claim(
        self,
        pool: str,
        worker: str,
        limit: int,
        lease_s: float,
        models: Sequence[str],
        known: Sequence[tuple[str, int]] = (),
    ) -> tuple[Claim, ...]:
        taken = await self.store.run(commands.claim(pool, worker, limit, lease_s, models, known))
        for job_id, attempt in taken.unreadable:
            await self.store.run(commands.finish(job_id, attempt, commands.UNREADABLE))
        return taken.claims

    async def beat(self, worker: str, held: Sequence[tuple[str, int]], lease_s: float) -> dict[str, Beat]:
        return await self.store.run(commands.beat(worker, held, lease_s))

    async def note(self, job_id: str, attempt: int, progress: Note) -> bool:
        return await self.store.run(commands.note(job_id, attempt, progress))

    async def preview(self, job_id: str, attempt: int, number: int, shown: Preview) -> bool:
        return await self.store.run(commands.preview(job_id, attempt, number, shown))

    async def finish(
        self, job_id: str, attempt: int, outcome: Outcome, gpu_seconds: float | None = None
    ) -> Finished:
        return await self.store.run(commands.finish(job_id, attempt, outcome, gpu_seconds))

    async def release(
        self,
        job_id: str,
        attempt: int,
        reason: str,
        *,
        counts_as_loss: bool = False,
        alone: bool = False,
        max_lost: int = MAX_LOST,
    ) -> bool:
        return await self.store.run(
            commands.release(job_id, attempt, reason, counts_as_loss, alone, max_lost)
        )

    async def hold(self, job_id: str, attempt: int, approval_s: float, spent: Mapping[str, float]) -> bool:
        return await self.store.run(commands.hold(job_id, attempt, approval_s, spent))

    async def reap(self, lease_s: float, max_lost: int = MAX_LOST, every_s: float = REAP_EVERY_S) -> Reaped:
        return await self.store.run(commands.reap(lease_s, max_lost, every_s))

    async def announce(
        self, worker: str, pool: str, specs: Sequence[ModelSpec], alive_s: float = ALIVE_S
    ) -> bool:
        return await self.store.run(roster.announce(worker, pool, specs, alive_s))

    async def retire(self, worker: str) -> None:
        await self.store.run(roster.retire(worker))

    async def catalogue(self) -> dict[str, CatalogueEntry]:
        return await self.store.run(roster.catalogue())

    async def snapshot(self) -> Snapshot:
        return await self.store.run(roster.snapshot())

    async def doomed(self, limit: int = 100) -> tuple[Doomed, ...]:
        return await self.store.run(commands.doomed(limit))

    async def purge(self, job_id: str) -> bool:
        return await self.store.run(commands.purge(job_id))

    async def queue_depth(self, pool: str) -> int:
        """Jobs of the pool that wait to be claimed."""
        return (await self.snapshot()).pools.get(pool, NO_POOL).ready

    async def live_workers(self, pool: str) -> int:
        """Workers of the pool that announced themselves lately."""
        return (await self.snapshot()).pools.get(pool, NO_POOL).live_workers
