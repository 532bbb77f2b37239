"""How the whole store stands, for metrics and for whoever waits for room."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.contracts.lifecycle import State
from service.store.nouns import Pause


@dataclass(frozen=True)
class PoolDepth:
    """One pool: jobs ready to claim, the oldest one's wait (seconds), workers alive, tickets it could use,
    live workers told to drain, attempts that run, attempts that ever lost their worker, tenants with ready
    jobs, and the GPU seconds that what is ready should take."""

    ready: int
    oldest_ready_age_s: float
    live_workers: int
    wanted: int
    draining: int = 0
    running: int = 0
    losses: int = 0
    waiting_tenants: int = 0
    backlog_gpu_s: float = 0.0


NO_POOL = PoolDepth(ready=0, oldest_ready_age_s=0.0, live_workers=0, wanted=0)


@dataclass(frozen=True)
class ModelDepth:
    """One model's jobs in one pool: ready, run by an attempt, and how often one came into each state."""

    ready: int
    running: int
    moves: Mapping[State, int]


@dataclass(frozen=True)
class Server:
    """What the Redis server says of itself (INFO persistence, INFO memory). Sizes in bytes.

    `aof_enabled`: it keeps an append-only file; `aof_written`, `aof_rewritten`: the last write to that file
    and its last rewrite went well; `snapshot_saved`: so did the last dump. `aof_bytes`: what the file is long
    now, `aof_base_bytes`: what it was behind its last rewrite. `delayed_fsyncs`: how often a write has waited
    for the disk (appendfsync everysec). `memory` is what is in use, `memory_bound` what may be (0: no bound).
    """

    aof_enabled: bool = False
    aof_written: bool = True
    aof_rewritten: bool = True
    snapshot_saved: bool = True
    aof_bytes: int = 0
    aof_base_bytes: int = 0
    delayed_fsyncs: int = 0
    memory: int = 0
    memory_bound: int = 0


@dataclass(frozen=True)
class Snapshot:
    """Gauges for metrics: records by state, leases held, jobs to be purged, events to be relayed, pools.

    `pauses`: why the closed gates are closed, by gate (`intake`, `pool:<name>`).
    `eta_ratios`: by pool and model, the time that the last videos took over the time that was foretold, in
    the middle and for nine of ten.
    `left`: job records of newer versions, which this one leaves as they are.
    `aside`: jobs that are set aside, as their records cannot be gone by.
    `promises`: by pool and model, all videos of which a time was foretold, and those of them that came late.
    `models`: by pool and model, its jobs.
    `priorities`: by pool and the priority that was asked for, ready jobs and the oldest one's wait (s).
    `shares`: by pool, what the tenants that took most of its GPUs of late have of all that was taken, 0 to 1,
    the first of them first; what somebody took half an hour earlier counts half.
    `cancels`: jobs ever cancelled, by where they stood when the cancel took effect (lifecycle.CANCELLED_AT).
    """

    states: Mapping[State, int]
    leases: int
    doomed: int
    outbox: int
    pools: Mapping[str, PoolDepth]
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    eta_ratios: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    promises: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    models: Mapping[tuple[str, str], ModelDepth] = field(default_factory=dict)
    priorities: Mapping[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    cancels: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    left: int = 0
    aside: int = 0
    server: Server = Server()
