"""What operators set: closed gates, workers that are to drain, tenants' shares. It all outlives a restart.

The rules are in lua/{pause,drain,workers,share,shares}.lua and in those that heed them (submit, claim,
announce).
Every command may be sent again after StoreUnavailable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.contracts.ids import NAME_PATTERN, is_name
from service.store.nouns import Pause
from service.store.roster import snapshot
from service.store.script import Command, Store, pairs

INTAKE = "intake"
"""The gate of new jobs."""

MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0
MAX_RUNNING_CAP = 10_000
MAX_REASON_CHARS = 200


def gate_of(pool: str) -> str:
    """The gate between a pool's queue and its workers. Raises ValueError for what cannot be a pool."""
    return f"pool:{_checked_name('pool', pool)}"


@dataclass(frozen=True)
class LiveWorker:
    """A worker that announced itself lately. `running` counts its attempts, `draining`: it claims no more."""

    name: str
    pool: str
    models: tuple[str, ...]
    running: int
    draining: bool


@dataclass(frozen=True)
class TenantShare:
    """A tenant's weight in the sharing of GPU seconds (1: as everybody), how many jobs may run, and do.

    `running_cap` None: no limit of its own. `taken`: by pool, its part of what was taken of the GPUs of late
    (0 to 1; what was taken half an hour earlier counts half), where that is something.
    """

    tenant: str
    weight: float
    running_cap: int | None
    running: int
    taken: Mapping[str, float] = field(default_factory=dict)


def pause(gate: str, reason: str) -> Command[bool]:
    """Close a gate; False if it was closed already (it keeps its time and takes the new reason).

    Raises ValueError for a reason that is not 1 to MAX_REASON_CHARS printable characters on one line: it is
    shown in terminals, where others would write over what stands there.
    """
    if not 0 < len(reason) <= MAX_REASON_CHARS:
        raise ValueError(f"reason must be 1 to {MAX_REASON_CHARS} characters, got {len(reason)}")
    if not reason.isprintable():
        raise ValueError(f"reason must be printable characters on one line, got {reason!r}")
    return Command("pause", (gate, reason), bool)


def resume(gate: str) -> Command[bool]:
    """Open a gate; False if it was open. The sweep wakes the workers of a pool within a second."""
    return Command("pause", (gate, ""), bool)


def drain(workers: Sequence[str]) -> Command[tuple[str, ...]]:
    """Tell these live workers (none named: all) to drain; the names of those that were there to be told."""
    return Command("drain", tuple(workers), tuple)


def live_workers() -> Command[tuple[LiveWorker, ...]]:
    """Every live worker, by pool."""
    return Command(
        "workers",
        (),
        lambda reply: tuple(
            LiveWorker(name, pool, tuple(models.split()), running, draining == 1)
            for name, pool, models, running, draining in sorted(reply, key=lambda row: (row[1], row[0]))
        ),
    )


def set_share(
    tenant: str, *, weight: float | None = None, running_cap: int | None = None, uncapped: bool = False
) -> Command[None]:
    """Set a tenant's weight or running cap; None leaves it as it is, `uncapped` lifts the cap.

    Raises ValueError with the name, the value and the bound.
    """
    _checked_name("tenant", tenant)
    if weight is not None and not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise ValueError(f"weight must be {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, got {weight:g}")
    if running_cap is not None and not 1 <= running_cap <= MAX_RUNNING_CAP:
        raise ValueError(f"running cap must be 1 to {MAX_RUNNING_CAP}, or none, got {running_cap}")
    cap: str | int = "none" if uncapped else "" if running_cap is None else running_cap
    return Command("share", (tenant, "" if weight is None else weight, cap), lambda _: None)


def shares() -> Command[tuple[TenantShare, ...]]:
    """By name, tenants with a share of their own or a running job, and who took most of a pool of late."""
    return Command(
        "shares",
        (),
        lambda reply: tuple(
            TenantShare(tenant, float(weight), int(cap) if cap else None, running, _parts(taken))
            for tenant, weight, cap, running, *taken in sorted(reply)
        ),
    )


def _parts(flat: Sequence[str]) -> Mapping[str, float]:
    return {pool: float(part) for pool, part in pairs(flat).items()}


@dataclass(frozen=True)
class ControlStore:
    """The controls over a blocking client; each promise stands at the function of the same name above."""

    store: Store

    def pause(self, gate: str, reason: str) -> bool:
        return self.store.run(pause(gate, reason))

    def resume(self, gate: str) -> bool:
        return self.store.run(resume(gate))

    def pauses(self) -> dict[str, Pause]:
        """The gates that are closed now, and why."""
        return dict(self.store.run(snapshot()).pauses)

    def drain(self, workers: Sequence[str] = ()) -> tuple[str, ...]:
        return self.store.run(drain(workers))

    def live_workers(self) -> tuple[LiveWorker, ...]:
        return self.store.run(live_workers())

    def set_share(
        self,
        tenant: str,
        *,
        weight: float | None = None,
        running_cap: int | None = None,
        uncapped: bool = False,
    ) -> None:
        self.store.run(set_share(tenant, weight=weight, running_cap=running_cap, uncapped=uncapped))

    def shares(self) -> tuple[TenantShare, ...]:
        return self.store.run(shares())


def _checked_name(what: str, name: str) -> str:
    if not is_name(name):
        raise ValueError(f"{what} must match {NAME_PATTERN}, got {name!r}")
    return name
