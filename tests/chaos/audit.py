"""The invariant, looked for everywhere: in the record, in Redis' other keys, in storage, at the receiver.

Every accepted id reached exactly one terminal state, with at most one stored video and one terminal event id.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.load import Ledger, Promise, tick_off
from chaos.orphans import orphans
from chaos.scene import LEASE_S, Scene
from rig.processes import wait_until

from service.contracts.event import Event
from service.contracts.job import VideoJob
from service.contracts.keys import VIDEO
from service.contracts.lifecycle import State
from service.janitor import Janitor

ENDINGS = frozenset({"video.completed", "video.failed", "video.cancelled"})
WANTED = {
    "succeeded": {State.SUCCEEDED},
    "cancelled": {State.CANCELLED, State.SUCCEEDED},
    "worker_lost": {State.FAILED},
    "out_of_memory": {State.FAILED},
}
OWN_PATH = "/hook"
QUIET_S = 90.0


@dataclass
class Findings:
    """What the audit saw. `lost` and `duplicated` are job ids; `breaches` are sentences."""

    lost: set[str] = field(default_factory=set)
    duplicated: set[str] = field(default_factory=set)
    breaches: list[str] = field(default_factory=list)
    left_behind: int = 0  # objects of dead attempts, all of which the janitor took
    repeats: int = 0  # webhooks that came more than once, with the same id


def audit(scene: Scene, ledger: Ledger, *, losses_allowed: bool, quiet_s: float = QUIET_S) -> Findings:
    """Wait until everything has come to rest, then hold the whole scene against the invariant."""
    found = Findings(breaches=list(ledger.complaints))
    try:
        wait_until(lambda: at_rest(scene, ledger), quiet_s, "everything comes to rest")
    except AssertionError as error:
        found.breaches.append(f"{error}: {_unrest(scene, ledger)}")
    told = _told(scene)
    for promise in ledger.promises.values():
        endings = _judge_job(scene, promise, found, losses_allowed=losses_allowed)
        _judge_told(promise.id, endings, ledger.endpoints, told[promise.id], found)
    _judge_storage(scene, ledger, found)
    found.breaches += [f"orphan key {key}" for key in orphans(scene.redis)]
    return found


def history(scene: Scene, job_id: str) -> str:
    """The record and all its events: what a person needs to understand a breach."""
    job = scene.record(job_id)
    events = "\n".join(
        f"  {event.seq} {event.created_at:.3f} {event.type} {event.data}"
        for event in events_of(scene, job_id)
    )
    return f"{job!r}\n{events}"


def events_of(scene: Scene, job_id: str) -> tuple[Event, ...]:
    job = scene.record(job_id)
    return scene.store.events(job.tenant, job_id, 0, 1000) if job is not None else ()


def at_rest(scene: Scene, ledger: Ledger) -> bool:
    """Whether every promised job has ended and every webhook has been told."""
    tick_off(scene, ledger)
    waiting = scene.redis.xlen("{mc}:outbox") + scene.redis.zcard("{mc}:deliveries:due")
    return not ledger.unfinished() and not waiting and not scene.redis.zcard("{mc}:leases")


def _unrest(scene: Scene, ledger: Ledger) -> str:
    due = scene.redis.zcard("{mc}:deliveries:due")
    return f"unfinished {ledger.unfinished()}, outbox {scene.redis.xlen('{mc}:outbox')}, due {due}"


def _told(scene: Scene) -> dict[str, Counter[tuple[str, str]]]:
    """By job: terminal webhooks that were answered 2xx, counted by path and webhook-id."""
    told: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for received in list(scene.receiver.received):
        body: dict[str, Any] = json.loads(received.body)
        if body["type"] in ENDINGS and 200 <= received.status < 300:
            told[body["data"]["id"]][received.path, received.headers["webhook-id"]] += 1
    return told


def _judge_job(scene: Scene, promise: Promise, found: Findings, *, losses_allowed: bool) -> list[Event]:
    """Answers the terminal events, of which there must be one."""
    job = scene.record(promise.id)
    if job is None or not job.terminal:
        found.lost.add(promise.id)
        found.breaches.append(f"{promise.id} never ended: {job and job.state}")
        return []
    if job.state not in WANTED[promise.want]:
        found.lost.add(promise.id)
        found.breaches.append(f"{promise.id} ended {job.state} ({job.failure}), wanted {promise.want}")
    if job.state is State.FAILED and (job.failure is None or job.failure.code != promise.want):
        found.breaches.append(f"{promise.id} failed with {job.failure}, wanted {promise.want}")
    if job.lost and not losses_allowed:
        found.breaches.append(f"{promise.id} counts {job.lost} lost workers, and none died")
    endings = [event for event in events_of(scene, promise.id) if event.type in ENDINGS]
    if len(endings) != 1:
        found.duplicated.add(promise.id)
        found.breaches.append(f"{promise.id} has {len(endings)} terminal events")
    return endings


def _judge_told(
    job_id: str,
    endings: Sequence[Event],
    endpoints: Mapping[str, str],
    told: Counter[tuple[str, str]],
    found: Findings,
) -> None:
    """The job's own URL heard of its end under the event's id, each endpoint under that and its own."""
    wanted = {(OWN_PATH, event.id) for event in endings}
    wanted |= {(path, f"{event.id}_{id_}") for event in endings for path, id_ in endpoints.items()}
    found.repeats += sum(told.values()) - len(told)
    if any(ids > 1 for ids in Counter(path for path, _ in told).values()):
        found.duplicated.add(job_id)
    if set(told) != wanted:
        found.breaches.append(f"{job_id}: the receiver heard {dict(told)}, the record told {wanted}")


def _judge_storage(scene: Scene, ledger: Ledger, found: Findings) -> None:
    """The janitor, two hours from now, may take everything that no record names, and nothing else."""
    before = {stored.key for stored in scene.storage.list("")}
    Janitor(scene.store, scene.storage, LEASE_S, clock=lambda: time.time() + 7200).sweep()
    after = {stored.key for stored in scene.storage.list("")}
    found.left_behind = len(before - after)
    videos = Counter(key.split("/")[1] for key in after if key.endswith(f"/{VIDEO}"))
    for job_id in ledger.promises:
        job = scene.record(job_id)
        if videos[job_id] > 1:
            found.duplicated.add(job_id)
            found.breaches.append(f"{job_id} has {videos[job_id]} stored videos")
        if job is not None and job.state is State.SUCCEEDED:
            _judge_video(scene, job, found)
    unnamed = [key for key in after if not _names(scene, key)]
    if unnamed:
        found.breaches.append(f"objects that no record names and the janitor left: {unnamed}")


def _judge_video(scene: Scene, job: VideoJob, found: Findings) -> None:
    assert job.artifact is not None
    try:
        whole = scene.storage.head(job.artifact.key).sha256 == job.artifact.sha256
    except Exception as error:  # noqa: BLE001 - whatever it is, the promised video is not there
        found.lost.add(job.id)
        found.breaches.append(f"{job.id}: its video cannot be read: {error!r}")
        return
    if not whole:
        found.lost.add(job.id)
        found.breaches.append(f"{job.id}: the stored video is not the one of the record")


def _names(scene: Scene, key: str) -> bool:
    job = scene.record(key.split("/")[1])
    return job is not None and job.names(key)
