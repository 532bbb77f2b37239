"""`python -m rig.keep_record VERSION`: run this version for real and keep what it wrote for later ones.

A gateway, a notifier and a worker bring jobs into every state that lasts; then the worker is stopped in the
middle of a step, and Redis and storage are kept as they stand (tests/e2e/records/VERSION.json).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from models.nano import write_nano
from rig.kept_record import RECEIVER, RECORDS, taken
from rig.processes import Running, free_ports, python_module, wait_until
from rig.valkey import running_valkey
from service.contracts.api_key import Scope
from service.contracts.keys import REDIS_KEYS
from service.store.api_keys import KeyStore
from service.store.script import Store

OWNER = "acme"
#: What the tests that put the record back send; it opens nothing else.
API_KEY = "mck_" + "kept-record-" * 3
WEBHOOK_SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="
HOOK = f"http://{RECEIVER}/hook"
REPEATED: dict[str, Any] = {
    "prompt": "a green star rotating",
    "seed": 8,
    "metadata": {"order": "41"},
    "priority": 2,
    "webhook_url": HOOK,
    "finish_by": "20h",
}
"""The body of the waiting job that is sent again, by its Idempotency-Key, to a later version."""


@dataclass
class Site:
    """The running service, asked as the owner asks it."""

    folder: Path
    environment: Mapping[str, str]
    redis: Redis
    url: str
    stack: ExitStack
    video_ids: dict[str, str] = field(default_factory=dict)

    def start(self, module: str, name: str, **more: str) -> Running:
        process = python_module(module, {**self.environment, **more}, self.folder, name).start()
        self.stack.callback(process.end)
        return process

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        headers["authorization"] = f"Bearer {API_KEY}"
        answer = httpx.request(
            method, self.url + path, json=body, headers=headers, timeout=30, trust_env=False
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def create(self, name: str, key: str | None = None, **fields: Any) -> str:
        """A job, remembered as `name`; answers its id."""
        body = {"prompt": "a red circle moving left", "seed": 7, **fields}
        headers = {} if key is None else {"idempotency-key": key}
        self.video_ids[name] = self.ask("POST", "/videos", body, **headers)["id"]
        return self.video_ids[name]

    def wait_for(self, name: str, state: str) -> None:
        path = f"/videos/{self.video_ids[name]}"
        wait_until(lambda: self.ask("GET", path)["state"] == state, 120, f"{name} is {state}")


def main(version: str) -> None:
    """Keep what this version writes."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        site = _site(Path(folder), stack)
        _fill(site)
        facts = {
            "owner": OWNER,
            "api_key": API_KEY,
            "videos": site.video_ids,
            "repeated": REPEATED,
        }
        kept = taken(site.redis, Path(folder) / "artifacts", version, facts, time.time())
        kept.save(RECORDS / f"{version}.json")


def _site(folder: Path, stack: ExitStack) -> Site:
    weights = folder / "weights"
    write_nano(weights)
    url = stack.enter_context(running_valkey(folder / "valkey"))
    (port,) = free_ports(1)
    redis = stack.enter_context(Redis.from_url(url))
    KeyStore(Store(redis)).keep(API_KEY, OWNER, [Scope.WRITE, Scope.READ])
    environment = {
        "REDIS_URL": url,
        "MICROCINEMA_PORT": str(port),
        "MICROCINEMA_PUBLIC_BASE_URL": "http://127.0.0.1:8000",
        "MICROCINEMA_REQUIRE_KEYS": "true",
        "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
        "MICROCINEMA_SPOOL_DIR": str(folder / "spool"),
        "MICROCINEMA_CREDENTIALS_DIR": str(folder / "credentials"),
        "MICROCINEMA_WEIGHTS": str(weights),
        "MICROCINEMA_DEVICE": "cpu",
        "MICROCINEMA_CHECKPOINT_EVERY_S": "0",
        "MICROCINEMA_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    site = Site(folder, environment, redis, f"http://127.0.0.1:{port}", stack)
    site.start("service.main", "gateway")
    wait_until(lambda: _answers(f"{site.url}/livez"), 60, "the gateway answers")
    return site


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _fill(site: Site) -> None:
    def count(key: str) -> int:
        return int(site.redis.zcard(REDIS_KEYS[key]))

    worker = site.start("worker.main", "worker")
    wait_until(lambda: site.redis.exists(REDIS_KEYS["CATALOGUE"]) == 1, 120, "a worker is there")
    # The first letter is given up at once, the next ones wait for their second try.
    notifier = site.start("service.notifier.main", "impatient", MICROCINEMA_WEBHOOK_DELAYS_S="[0.1]")
    site.create("told_in_vain", webhook_url=HOOK)
    site.wait_for("told_in_vain", "succeeded")
    wait_until(lambda: count("DELIVERIES_DEAD") >= 2, 60, "dead letters of the start and the end")
    notifier.end()
    site.ask("POST", "/webhook_endpoints", {"url": HOOK, "description": "kept"})
    site.create("gated", pause_after="image", candidates=2)
    site.wait_for("gated", "awaiting_approval")
    site.create("succeeded", key="made once", metadata={"order": "40"})
    site.wait_for("succeeded", "succeeded")
    notifier = site.start("service.notifier.main", "patient", MICROCINEMA_WEBHOOK_DELAYS_S="[3600, 3600]")
    wait_until(lambda: count("DELIVERIES_DUE") >= 3, 60, "deliveries that wait")
    wait_until(lambda: site.redis.xlen(REDIS_KEYS["OUTBOX"]) == 0, 60, "the outbox is empty")
    time.sleep(1)  # each has had its first try
    notifier.end()
    site.create("running", num_frames=8, num_inference_steps=50)
    _stop_between_steps(site, worker, site.video_ids["running"])
    site.create("expired", start_by="1s")
    for name in ("cancelled", "deleted"):
        site.create(name)
    site.ask("POST", f"/videos/{site.video_ids['cancelled']}/cancel")
    site.ask("DELETE", f"/videos/{site.video_ids['deleted']}")
    site.create("repeated", key="sent again", **REPEATED)
    site.create("plain")
    site.wait_for("expired", "expired")


def _stop_between_steps(site: Site, worker: Running, video_id: str) -> None:
    """SIGSTOP, once the record names a checkpoint of the job."""
    key = REDIS_KEYS["JOB"] + video_id

    def underway() -> bool:
        state, checkpoint = site.redis.hmget(key, "state", "checkpoint")
        assert state in (b"queued", b"running"), f"too late: the job is {state!r}"
        return bool(checkpoint)

    deadline = time.monotonic() + 60
    while not underway():
        assert time.monotonic() < deadline, "the job never began"
    os.kill(worker.pid, signal.SIGSTOP)
    site.stack.callback(os.kill, worker.pid, signal.SIGKILL)
    assert site.redis.hget(key, "state") == b"running", "it ended before it could be stopped"


if __name__ == "__main__":
    main(sys.argv[1])
