"""Every release has kept what it writes, for later ones to read (docs/adr/0035-record-schema.md)."""

import re
from pathlib import Path

from rig.kept_record import KeptRecord, kept_records

from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import State

ROOT = Path(__file__).parents[2]


def unkept(changelog: str, kept: set[str]) -> list[str]:
    """Released versions without a record of their own."""
    return [version for version in re.findall(r"^## \[?(\d[^\s\]]*)", changelog, re.M) if version not in kept]


def test_every_release_of_the_changelog_has_kept_its_record() -> None:
    kept = {path.stem for path in kept_records()}
    assert kept
    assert unkept((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), kept) == []
    assert unkept("## Unreleased\n\n## 9.9.9 (2030-01-01)\n", kept) == ["9.9.9"]


def test_a_kept_record_holds_jobs_in_every_state_that_a_release_meets() -> None:
    for path in kept_records():
        record = KeptRecord.load(path)
        assert record.version == path.stem
        jobs = [dict(key["value"]) for name, key in record.keys.items() if name.startswith(REDIS_KEYS["JOB"])]
        assert {job["state"] for job in jobs} == set(State) - {State.FAILED}, path
        kinds = {kind for kind, key in REDIS_KEYS.items() for name in record.keys if name.startswith(key)}
        assert {"OUTBOX", "DELIVERY", "ENDPOINT", "API_KEYS", "IDEMPOTENCY", "LEASES"} <= kinds, path
