"""What earlier versions wrote, in their own real runs, is served, run and finished by this one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.kept_record import KeptRecord, kept_records
from rig.local_service import LocalService, local_service
from rig.processes import wait_until
from rig.receiver import Receiver

from service.contracts.keys import REDIS_KEYS
from service.store.audit import Audit


@dataclass
class Upgraded:
    """This version's service on an earlier version's record."""

    kept: KeptRecord
    service: LocalService
    receiver: Receiver

    def video(self, name: str) -> dict[str, Any]:
        answer = self.service.ask("GET", f"/videos/{self.kept.facts['videos'][name]}")
        assert answer.status_code == 200, answer.text
        video: dict[str, Any] = answer.json()
        return video

    def wait_for(self, name: str, state: str) -> dict[str, Any]:
        self.service.wait_for(self.kept.facts["videos"][name], state)
        return self.video(name)

    def told(self) -> set[tuple[str, str]]:
        """(type, video) of every webhook that came."""
        bodies = [json.loads(received.body) for received in list(self.receiver.received)]
        return {(body["type"], body["data"]["id"]) for body in bodies}


@pytest.fixture(params=sorted(kept_records()), ids=lambda path: path.stem)
def upgraded(request: pytest.FixtureRequest, tmp_path: Path, nano_weights: Path) -> Iterator[Upgraded]:
    kept = KeptRecord.load(request.param)
    with (
        Receiver() as receiver,
        local_service(tmp_path / "site", nano_weights, kept.facts["api_key"]) as service,
    ):
        service.start_valkey()
        with service.redis() as redis:
            hook = httpx.URL(receiver.url).netloc.decode()
            kept.restore(redis, service.artifacts, time.time(), hook)
        service.start_gateway()
        yield Upgraded(kept, service, receiver)


@pytest.mark.timeout(900)
def test_jobs_deliveries_keys_and_endpoints_of_an_earlier_version_go_on(upgraded: Upgraded) -> None:
    videos = upgraded.kept.facts["videos"]
    states = {name: upgraded.video(name)["state"] for name in videos if name != "deleted"}
    assert states == {
        "told_in_vain": "succeeded",
        "gated": "awaiting_approval",
        "succeeded": "succeeded",
        "running": "running",
        "expired": "expired",
        "cancelled": "cancelled",
        "repeated": "queued",
        "plain": "queued",
    }
    assert upgraded.service.ask("GET", f"/videos/{videos['deleted']}").status_code == 404
    listed = upgraded.service.ask("GET", "/videos?limit=50").json()["data"]
    assert {video["id"] for video in listed} == set(videos.values()) - {videos["deleted"]}
    film = upgraded.service.ask("GET", f"/videos/{videos['succeeded']}/content")
    stored = upgraded.kept.objects[f"acme/{videos['succeeded']}/1/video.mp4"]
    assert film.content == base64.b64decode(stored)
    (endpoint,) = upgraded.service.ask("GET", "/webhook_endpoints").json()["data"]
    assert endpoint["description"] == "kept"

    # A client whose answer was lost in the upgrade repeats what it sent to the version before.
    again = upgraded.service.ask(
        "POST", "/videos", upgraded.kept.facts["repeated"], **{"idempotency-key": "sent again"}
    )
    assert (again.status_code, again.json()["id"]) == (200, videos["repeated"])

    approval = upgraded.service.ask("POST", f"/videos/{videos['gated']}/approve", {"candidate": 1})
    assert approval.status_code == 200, approval.text
    worker = upgraded.service.start_part("worker.main")
    upgraded.service.start_part("service.notifier.main")
    resumed = upgraded.wait_for("running", "succeeded")
    assert resumed["attempts"] == 2, worker.output()
    assert '"resumed"' in worker.output()
    for name in ("gated", "repeated", "plain"):
        upgraded.wait_for(name, "succeeded")

    expected = {("video.completed", videos[name]) for name in ("running", "gated", "repeated")}
    expected |= {("video.started", videos["running"]), ("video.cancelled", videos["cancelled"])}
    wait_until(lambda: expected <= upgraded.told(), 60, f"{expected - upgraded.told()} told")
    with upgraded.service.redis() as redis:
        assert redis.zcard(REDIS_KEYS["DELIVERIES_DEAD"]) == 2
        wait_until(lambda: Audit(redis).orphans() == [], 60, "nothing is left over")
