"""What earlier versions wrote, in their own real runs, is served, run and finished by this one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from rig.kept_record import KeptRecord, kept_records
from rig.processes import Running, free_ports, python_module, wait_until
from rig.receiver import Receiver
from rig.valkey import running_valkey

from service.contracts.keys import REDIS_KEYS
from service.store.audit import Audit

SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="


@dataclass
class Upgraded:
    """This version's service on an earlier version's record."""

    kept: KeptRecord
    redis: Redis
    url: str
    receiver: Receiver
    start: Callable[..., Running]
    started: list[Running]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        headers["authorization"] = f"Bearer {self.kept.facts['api_key']}"
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=30, trust_env=False)

    def video(self, name: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/videos/{self.kept.facts['videos'][name]}")
        assert answer.status_code == 200, answer.text
        video: dict[str, Any] = answer.json()
        return video

    def wait_for(self, name: str, state: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def arrived() -> bool:
            seen.update(self.video(name))
            return bool(seen["state"] == state)

        try:
            wait_until(arrived, 240, f"{name} is {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}, not {seen}\n{self.logs()}") from error
        return seen

    def logs(self) -> str:
        """The end of what each process said."""
        return "\n".join(f"--- {each.name}\n{each.output()[-2000:]}" for each in self.started)

    def told(self) -> set[tuple[str, str]]:
        """(type, video) of every webhook that came."""
        bodies = [json.loads(received.body) for received in list(self.receiver.received)]
        return {(body["type"], body["data"]["id"]) for body in bodies}


@pytest.fixture(params=sorted(kept_records()), ids=lambda path: path.stem)
def upgraded(request: pytest.FixtureRequest, tmp_path: Path, nano_weights: Path) -> Iterator[Upgraded]:
    kept = KeptRecord.load(request.param)
    with ExitStack() as stack:
        url = stack.enter_context(running_valkey(tmp_path / "valkey"))
        redis = stack.enter_context(Redis.from_url(url))
        receiver = stack.enter_context(Receiver())
        kept.restore(redis, tmp_path / "artifacts", time.time(), httpx.URL(receiver.url).netloc.decode())
        port, probe = free_ports(2)
        environment = {
            "REDIS_URL": url,
            "MICROCINEMA_PORT": str(port),
            "MICROCINEMA_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
            "MICROCINEMA_REQUIRE_KEYS": "true",
            "MICROCINEMA_STORAGE_DIR": str(tmp_path / "artifacts"),
            "MICROCINEMA_SPOOL_DIR": str(tmp_path / "spool"),
            "MICROCINEMA_CREDENTIALS_DIR": str(tmp_path / "credentials"),
            "MICROCINEMA_WEIGHTS": str(nano_weights),
            "MICROCINEMA_DEVICE": "cpu",
            "MICROCINEMA_PROBE_PORT": str(probe),
            "MICROCINEMA_WEBHOOK_SECRET": SECRET,
            "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }

        started: list[Running] = []

        def start(module: str, name: str) -> Running:
            process = python_module(module, environment, tmp_path, name).start()
            stack.callback(process.end)
            started.append(process)
            return process

        upgraded = Upgraded(kept, redis, f"http://127.0.0.1:{port}", receiver, start, started)
        gateway = start("service.main", "gateway")
        wait_until(lambda: _answers(f"{upgraded.url}/livez"), 60, f"the gateway\n{gateway.output()}")
        yield upgraded


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


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
    assert upgraded.ask("GET", f"/videos/{videos['deleted']}").status_code == 404
    listed = upgraded.ask("GET", "/videos?limit=50").json()["data"]
    assert {video["id"] for video in listed} == set(videos.values()) - {videos["deleted"]}
    film = upgraded.ask("GET", f"/videos/{videos['succeeded']}/content")
    stored = upgraded.kept.objects[f"acme/{videos['succeeded']}/1/video.mp4"]
    assert film.content == base64.b64decode(stored)
    (endpoint,) = upgraded.ask("GET", "/webhook_endpoints").json()["data"]
    assert endpoint["description"] == "kept"

    # A client whose answer was lost in the upgrade repeats what it sent to the version before.
    again = upgraded.ask(
        "POST", "/videos", upgraded.kept.facts["repeated"], **{"idempotency-key": "sent again"}
    )
    assert (again.status_code, again.json()["id"]) == (200, videos["repeated"])

    approval = upgraded.ask("POST", f"/videos/{videos['gated']}/approve", {"candidate": 1})
    assert approval.status_code == 200, approval.text
    worker = upgraded.start("worker.main", "worker")
    upgraded.start("service.notifier.main", "notifier")
    resumed = upgraded.wait_for("running", "succeeded")
    assert resumed["attempts"] == 2, worker.output()
    assert '"resumed"' in worker.output()
    for name in ("gated", "repeated", "plain"):
        upgraded.wait_for(name, "succeeded")

    expected = {("video.completed", videos[name]) for name in ("running", "gated", "repeated")}
    expected |= {("video.started", videos["running"]), ("video.cancelled", videos["cancelled"])}
    wait_until(lambda: expected <= upgraded.told(), 60, f"{expected - upgraded.told()} told")
    assert upgraded.redis.zcard(REDIS_KEYS["DELIVERIES_DEAD"]) == 2
    wait_until(lambda: Audit(upgraded.redis).orphans() == [], 60, "nothing is left over")
