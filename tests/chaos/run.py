"""One fault, many strikes, one verdict; `python -m chaos.run` is the long form and keeps the verdicts."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from statistics import median

from chaos.audit import audit, history
from chaos.faults import FAULTS
from chaos.load import Client, Ledger, Load
from chaos.page import publish
from chaos.scene import Scene, running_scene
from chaos.strike import Fault, Strike
from rig.processes import wait_until

RECOVERS_S = 180.0  # of a machine that is busy with other work; what it took is in the table


@dataclass(frozen=True)
class Verdict:
    """A row of docs/reliability.md. `recovery_s`: from a strike to the end of the last job that it hit.

    `load`: how many processes wanted a core over the last five minutes, at the end. `weights`: the folder of
    the model.
    """

    fault: str
    says: str
    seed: int
    tries: int
    jobs: int
    touched: int
    lost: int
    duplicated: int
    recovery_s: tuple[float, ...]
    webhooks_repeated: int
    left_behind: int
    minutes: float
    on: str
    commit: str
    load: float
    weights: str
    breaches: tuple[str, ...] = field(default=(), repr=False)

    @property
    def recovery_p50_s(self) -> float | None:
        return median(self.recovery_s) if self.recovery_s else None


@dataclass
class Blow:
    """One strike as it happened; times are seconds since 1970."""

    began: float
    over: float
    hit: Sequence[str]


def try_fault(
    fault: Fault, folder: Path, weights: Path, *, strikes: int, seed: int, limit_s: float
) -> Verdict:
    """Strike until `strikes` or `limit_s`, audit, and say what was seen.

    On a breach the seed and the histories of the jobs concerned go to stdout.
    """
    ledger = Ledger()
    with running_scene(folder, weights, fault.settings) as scene:
        began = time.monotonic()
        blows = strike_under_load(fault, scene, ledger, strikes, f"{fault.name}-{seed}", limit_s)
        found = audit(scene, ledger, losses_allowed=fault.kills_workers)
        found.breaches += fault.judge(scene, len(blows))
        verdict = Verdict(
            fault=fault.name,
            says=fault.says,
            seed=seed,
            tries=len(blows),
            jobs=len(ledger.promises),
            touched=_touched(ledger, blows),
            lost=len(found.lost),
            duplicated=len(found.duplicated),
            recovery_s=tuple(_recoveries(ledger, blows)),
            webhooks_repeated=found.repeats,
            left_behind=found.left_behind,
            minutes=round((time.monotonic() - began) / 60, 2),
            on=time.strftime("%Y-%m-%d", time.gmtime()),
            commit=_commit(),
            load=round(os.getloadavg()[1], 1),
            weights=weights.name,
            breaches=tuple(found.breaches),
        )
        for job_id in [promise for promise in ledger.promises if any(promise in b for b in found.breaches)]:
            sys.stdout.write(f"{history(scene, job_id)}\n")
    if verdict.breaches:
        sys.stdout.write(f"{fault.name}, seed {seed}:\n" + "\n".join(verdict.breaches) + "\n")
    return verdict


def strike_under_load(
    fault: Fault, scene: Scene, ledger: Ledger, strikes: int, seed: str, limit_s: float
) -> list[Blow]:
    """The strikes, in the middle of the load that the fault asks for."""
    random, blows = Random(seed), list[Blow]()
    until = time.monotonic() + limit_s
    with closing(Client(scene, ledger, f"{seed}-striker")) as client:
        for n in range(fault.endpoints):
            client.listen(f"/endpoint-{n}")
        with Load(scene, ledger, seed, fault.slow_s, fault.clients, fault.under_way):
            while len(blows) < strikes and time.monotonic() < until:
                time.sleep(random.uniform(0.2, 1.0))
                blows.append(strike_once(fault, Strike(scene, random, client)))
    return blows


def strike_once(fault: Fault, strike: Strike) -> Blow:
    """Strike, then wait until what was hit has ended: no job is hit by two strikes in a row by chance."""
    scene, running = strike.scene, strike.running()
    began = time.time()
    hit = fault.strike(strike)
    blow = Blow(began, time.time(), list(hit) if hit is not None else running)
    wait_until(
        lambda: all((job := scene.record(job_id)) is not None and job.terminal for job_id in blow.hit),
        RECOVERS_S,
        f"{fault.name}: the jobs {blow.hit} end after strike at {began:.3f}\n"
        + "\n".join(history(scene, job_id) for job_id in blow.hit),
    )
    return blow


def _touched(ledger: Ledger, blows: Sequence[Blow]) -> int:
    """Jobs that were accepted and not at their end while a strike went on."""
    return sum(
        any(began <= blow.over and ledger.ended.get(job_id, math.inf) >= blow.began for blow in blows)
        for job_id, began in ledger.accepted.items()
    )


def _commit() -> str:
    """What is struck, with a + if it was never committed as it is; the table does not count."""
    tree = Path(__file__).parents[2]
    told = subprocess.run(
        ["git", "describe", "--always", "--abbrev=7", "--exclude=*"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "service", "worker", "models", "tests"],
        cwd=tree,
        check=False,
    )
    return told.stdout.strip() + "+" * (changed.returncode == 1) or "unknown"


def _recoveries(ledger: Ledger, blows: Sequence[Blow]) -> list[float]:
    found = []
    for blow in blows:
        late = [end for job_id in blow.hit if (end := ledger.ended.get(job_id, 0.0)) >= blow.began]
        if late:
            found.append(round(max(late) - blow.began, 2))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The long form. Exit code 1 if any promise was broken, or a fault struck less often than asked."""
    parser = argparse.ArgumentParser(description="Strike the service with faults and count what was lost.")
    parser.add_argument("faults", nargs="*", default=list(FAULTS), help="names; left out: all of them")
    parser.add_argument("--strikes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one fault")
    parser.add_argument("--weights", type=Path, help="of a model that is not nano: models/micro is shipped")
    parser.add_argument("--results", type=Path, default=Path("docs/reliability.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/reliability.md"))
    chosen = parser.parse_args(arguments)
    from models.nano import write_nano  # torch: seconds that --help need not wait for

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the way out ends what was started

    broken = False
    with tempfile.TemporaryDirectory(prefix="microcinema-chaos-") as name:
        weights = chosen.weights.resolve() if chosen.weights else Path(name) / "nano"
        if not chosen.weights:
            write_nano(weights)
        for fault in chosen.faults:
            try:
                verdict = try_fault(
                    FAULTS[fault](),
                    Path(name) / fault,
                    weights,
                    strikes=chosen.strikes,
                    seed=chosen.seed,
                    limit_s=chosen.limit,
                )
            except AssertionError as error:  # a service that does not recover; the other faults go on
                sys.stdout.write(f"{fault}, seed {chosen.seed}, has no verdict: {error}\n")
                broken = True
                continue
            broken = broken or bool(verdict.breaches) or verdict.tries < chosen.strikes
            if verdict.tries < chosen.strikes:
                sys.stdout.write(
                    f"{fault}: {verdict.tries} strikes in {chosen.limit:g} s, not {chosen.strikes}\n"
                )
            shown = {
                key: value for key, value in asdict(verdict).items() if key not in ("says", "recovery_s")
            }
            sys.stdout.write(json.dumps({**shown, "recovery_p50_s": verdict.recovery_p50_s}) + "\n")
            sys.stdout.flush()
            publish(asdict(verdict), chosen.results, chosen.page)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
