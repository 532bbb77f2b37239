"""Commands of the roster: which workers live, what they serve, and how the whole store stands."""

import json
from collections.abc import Sequence
from typing import Any

from service.contracts.lifecycle import CANCELLED_AT, State
from service.contracts.model_spec import ModelSpec
from service.store.gauges import ModelDepth, PoolDepth, Server, Snapshot
from service.store.nouns import CatalogueEntry, Pause
from service.store.script import Command, pairs


def announce(worker: str, pool: str, specs: Sequence[ModelSpec], alive_s: float) -> Command[bool]:
    """Say that `worker` is alive for the next `alive_s` seconds and which models it holds.

    True if an operator wants it to drain.
    """
    # The worker's pool is the truth: a spec says where its requests are to be queued.
    placed = (spec.model_copy(update={"pool": pool}) for spec in specs)
    described = (part for spec in placed for part in (spec.name, spec.model_dump_json()))
    return Command("announce", (worker, pool, alive_s, *described), bool)


def retire(worker: str) -> Command[None]:
    """Take a worker off the lists; its models stay in the catalogue."""
    return Command("retire", (worker,), _nothing)


def catalogue() -> Command[dict[str, CatalogueEntry]]:
    """Every model that is or was served, by name, with the number of live workers that hold it."""
    return Command(
        "catalogue",
        (),
        lambda reply: {
            name: CatalogueEntry(
                ModelSpec.model_validate_json(spec), live, float(p50) if p50 else None, videos
            )
            for name, spec, live, p50, videos in reply
        },
    )


def snapshot() -> Command[Snapshot]:
    """Gauges of the whole store."""

    def parse(reply: Any) -> Snapshot:
        counted, cancels = pairs(reply[0]), pairs(reply[12])
        return Snapshot(
            states={state: int(counted.get(state, 0)) for state in State},
            leases=reply[1],
            doomed=reply[2],
            outbox=reply[3],
            pools={pool: _depth(*row) for pool, *row in reply[4]},
            pauses={gate: pause_of(text) for gate, text in pairs(reply[5]).items()},
            eta_ratios={(pool, model): (float(p50), float(p90)) for pool, model, p50, p90 in reply[6]},
            promises={(pool, model): (foretold, late) for pool, model, foretold, late in reply[7]},
            server=_server(reply[8], reply[14]),
            left=reply[9],
            aside=reply[10],
            models={
                (pool, model): ModelDepth(ready, running, {State(s): n for s, n in pairs(moves).items()})
                for pool, model, ready, running, moves in reply[11]
            },
            priorities={(pool, priority): (ready, float(age)) for pool, priority, ready, age in reply[13]},
            cancels={place: int(cancels.get(place, 0)) for place in CANCELLED_AT},
            shares={pool: tuple(map(float, shares)) for pool, *shares in reply[15]},
        )

    return Command("snapshot", (), parse)


def _depth(ready: int, age: str, *rest: Any) -> PoolDepth:
    live, wanted, draining, running, losses, tenants, backlog_gpu_s = rest
    return PoolDepth(
        ready, float(age), live, wanted, draining, running, losses, tenants, float(backlog_gpu_s)
    )


def _server(persistence: Sequence[str], memory: Sequence[str]) -> Server:
    enabled, *went, size, base, delayed = persistence
    sizes = (int(number or 0) for number in (size, base, delayed, *memory))
    return Server(enabled == "1", *(verdict in ("ok", "") for verdict in went), *sizes)


def pause_of(text: str) -> Pause:
    """A pause as the record keeps it."""
    kept = json.loads(text)
    return Pause(kept["reason"], float(kept["since"]))


def _nothing(_: Any) -> None:
    return None
