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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from models.nano import write_nano
from rig.forked import ForkedModule
from rig.kept_record import RECEIVER, RECORDS, taken
from rig.local_service import LocalService, local_service
from rig.processes import wait_until
from service.contracts.api_key import Scope
from service.contracts.keys import REDIS_KEYS
from service.store.api_keys import KeyStore
from service.store.script import Store

OWNER = "acme"
#: What the tests that put the record back send; it opens nothing else.
API_KEY = "mck_" + "kept-record-" * 3
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

    service: LocalService
    redis: Redis
    video_ids: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.service.ask(method, path, body, **headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def create(self, name: str, key: str | None = None, **fields: Any) -> str:
        """A job, remembered as `name`; answers its id."""
        body = {"prompt": "a red circle moving left", "seed": 7, **fields}
        headers = {} if key is None else {"idempotency-key": key}
        self.video_ids[name] = self.ask("POST", "/videos", body, **headers)["id"]
        return self.video_ids[name]

    def wait_for(self, name: str, state: str) -> None:
        self.service.wait_for(self.video_ids[name], state)


def main(version: str) -> None:
    """Keep what this version writes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_nano(folder / "weights")
        settings = {"MICROCINEMA_CHECKPOINT_EVERY_S": "0"}
        with local_service(folder / "site", folder / "weights", API_KEY, **settings) as service:
            service.start_valkey()
            with service.redis() as redis:
                KeyStore(Store(redis)).keep(API_KEY, OWNER, [Scope.WRITE, Scope.READ])
                service.start_gateway()
                site = Site(service, redis)
                _fill(site)
                sent = {"owner": OWNER, "api_key": API_KEY, "videos": site.video_ids, "repeated": REPEATED}
                kept = taken(redis, service.artifacts, version, sent, time.time())
    kept.save(RECORDS / f"{version}.json")


def _fill(site: Site) -> None:
    def count(key: str) -> int:
        return int(site.redis.zcard(REDIS_KEYS[key]))

    worker = site.service.start_part("worker.main")
    site.service.wait_for_worker()
    # The first letter is given up at once, the next ones wait for their second try.
    notifier = site.service.start_part("service.notifier.main", MICROCINEMA_WEBHOOK_DELAYS_S="[0.1]")
    site.create("told_in_vain", webhook_url=HOOK)
    site.wait_for("told_in_vain", "succeeded")
    wait_until(lambda: count("DELIVERIES_DEAD") >= 2, 60, "dead letters of the start and the end")
    notifier.end()
    site.ask("POST", "/webhook_endpoints", {"url": HOOK, "description": "kept"})
    site.create("gated", pause_after="image", candidates=2)
    site.wait_for("gated", "awaiting_approval")
    site.create("succeeded", key="made once", metadata={"order": "40"})
    site.wait_for("succeeded", "succeeded")
    notifier = site.service.start_part("service.notifier.main", MICROCINEMA_WEBHOOK_DELAYS_S="[3600, 3600]")
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


def _stop_between_steps(site: Site, worker: ForkedModule, video_id: str) -> None:
    """SIGSTOP, once the record names a checkpoint of the job."""
    key = REDIS_KEYS["JOB"] + video_id

    def underway() -> bool:
        state, checkpoint = site.redis.hmget(key, "state", "checkpoint")
        assert state in (b"queued", b"running"), f"too late: the job is {state!r}"
        return bool(checkpoint)

    deadline = time.monotonic() + 60
    while not underway():
        assert time.monotonic() < deadline, "the job never began"
    os.kill(worker.pid, signal.SIGSTOP)  # for good: what was stopped is killed with the rest
    assert site.redis.hget(key, "state") == b"running", "it ended before it could be stopped"


if __name__ == "__main__":
    main(sys.argv[1])
