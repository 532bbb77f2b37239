"""The short form of the chaos suite: some faults after each other on one scene, one strike each.

`make chaos` is the long form. A failure names the seed; the same seed strikes at the same moments.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from chaos.audit import audit, history
from chaos.faults import FAULTS
from chaos.load import Client, Ledger, Load
from chaos.run import strike_once
from chaos.scene import running_scene
from chaos.strike import Strike

SEED = 5
ONE_STRIKE_EACH = (
    "worker_killed_before_finish",
    "gateway_killed_after_submit",
    "redis_killed",
    "notifier_killed_in_relay",
    "tickets_deleted",
)


@pytest.mark.timeout(240)
def test_no_promise_is_broken_by_one_strike_of_each(tmp_path: Path, nano_weights: Path) -> None:
    random, ledger = Random(SEED), Ledger()
    with running_scene(tmp_path / "scene", nano_weights, {}) as scene:
        with (
            closing(Client(scene, ledger, f"short-{SEED}-striker")) as client,
            Load(scene, ledger, f"short-{SEED}", slow_s=0.05),
        ):
            for name in ONE_STRIKE_EACH:
                time.sleep(random.uniform(0.1, 0.4))
                strike_once(FAULTS[name](), Strike(scene, random, client))
        found = audit(scene, ledger, losses_allowed=True)
        told = "\n".join(
            history(scene, job_id)
            for job_id in ledger.promises
            if any(job_id in breach for breach in found.breaches)
        )
    assert not found.breaches, f"seed {SEED}: {found.breaches}\n{told}"
    assert (found.lost, found.duplicated) == (set(), set())
    assert len(ledger.promises) >= len(ONE_STRIKE_EACH)
