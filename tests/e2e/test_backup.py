"""Backup and restore as docs/operations.md tells them: run, back up, go on, lose all, restore, audit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rig.local_service import LocalService, local_service
from rig.processes import wait_until
from rig.receiver import Receiver
from rig.seaweed import running_s3

from service.contracts.api_key import Scope
from service.store.api_keys import KeyStore
from service.store.audit import Audit
from service.store.controls import ControlStore, gate_of
from service.store.script import Store
from service.store.store import JobStore

POOL = gate_of("default")


@dataclass(frozen=True)
class Site:
    """A running service and, where its files lie in a bucket, that."""

    service: LocalService
    bucket: Any = None

    def save_files(self, backup: Path) -> None:
        if self.bucket is None:
            shutil.copytree(self.service.artifacts, backup)
            return
        backup.mkdir()
        for each in self.bucket.objects.all():
            file = backup / each.key
            file.parent.mkdir(parents=True, exist_ok=True)
            self.bucket.download_file(each.key, str(file))

    def lose_all(self) -> None:
        self.service.destroy()
        if self.bucket is not None:
            self.bucket.objects.all().delete()
            assert not list(self.bucket.objects.all())

    def bring_files_back(self, backup: Path) -> None:
        if self.bucket is None:
            shutil.copytree(backup, self.service.artifacts)
            return
        for file in (each for each in backup.rglob("*") if each.is_file()):
            self.bucket.upload_file(str(file), file.relative_to(backup).as_posix())


@pytest.fixture(params=["folder", "bucket"])
def site(request: pytest.FixtureRequest, tmp_path: Path, nano_weights: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        s3 = stack.enter_context(running_s3(tmp_path / "s3")) if request.param == "bucket" else None
        more = s3.environment if s3 else {}
        service = stack.enter_context(local_service(tmp_path / "site", nano_weights, **more))
        service.start_valkey()
        service.start()
        yield Site(service, s3.objects() if s3 else None)


def back_up(site: Site, backup: Path) -> None:
    """Redis first, then the storage: every object that the record names is in the copy."""
    service = site.service
    backup.mkdir()
    with service.redis() as redis:
        redis.bgsave()
        wait_until(lambda: redis.info("persistence")["rdb_bgsave_in_progress"] == 0, 60, "BGSAVE is done")
        assert redis.info("persistence")["rdb_last_bgsave_status"] == "ok"
    shutil.copy(service.data / "dump.rdb", backup)
    site.save_files(backup / "artifacts")


def restore(site: Site, backup: Path) -> None:
    """A server with an append-only file reads nothing else: the snapshot goes in without, and makes one."""
    site.bring_files_back(backup / "artifacts")
    service = site.service
    service.data.mkdir()
    shutil.copy(backup / "dump.rdb", service.data)
    once = service.start_valkey("--appendonly", "no")
    with service.redis() as redis:
        redis.config_set("appendonly", "yes")
        wait_until(
            lambda: (
                redis.info("persistence")["aof_rewrite_in_progress"] == 0
                and redis.info("persistence")["aof_rewrite_scheduled"] == 0
            ),
            60,
            "the append-only file is written",
        )
        assert redis.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    once.end()
    service.start_valkey()
    service.start()


def digest(service: LocalService, video_id: str) -> str | None:
    with service.redis() as redis:
        job = JobStore(Store(redis)).record(video_id)
        assert job is not None
        assert job.artifact is not None
        return job.artifact.frame_digest


@pytest.mark.timeout(1200)
def test_what_was_promised_before_the_backup_holds_behind_the_restore_and_what_came_later_is_gone(
    site: Site, tmp_path: Path
) -> None:
    service = site.service
    with Receiver() as receiver:
        done = service.create(webhook_url=receiver.url)
        service.wait_for(done, "succeeded")
        film = service.ask("GET", f"/videos/{done}/content").content
        gated = service.create(pause_after="image", candidates=2)
        service.wait_for(gated, "awaiting_approval")
        with service.redis() as redis:
            ControlStore(Store(redis)).pause(POOL, "backing up")
            key_id, _ = KeyStore(Store(redis)).create("acme", [Scope.READ])
        waiting = service.create(seed=9, webhook_url=receiver.url)

        back_up(site, tmp_path / "backup")

        with service.redis() as redis:
            ControlStore(Store(redis)).resume(POOL)
            assert KeyStore(Store(redis)).revoke(key_id)
        service.wait_for(waiting, "succeeded")
        before = digest(service, waiting)
        later = service.create(seed=10)
        service.wait_for(later, "succeeded")
        assert service.ask("DELETE", f"/videos/{done}").is_success
        wait_until(lambda: told(receiver, waiting) == 1, 60, "the webhook of the end")

        site.lose_all()
        restore(site, tmp_path / "backup")

        # What holds: all that was accepted before the backup, and what it stood at.
        assert service.ask("GET", f"/videos/{done}/content").content == film
        assert service.state(gated) == "awaiting_approval"
        assert service.ask("POST", f"/videos/{gated}/approve", {"candidate": 1}).is_success
        with service.redis() as redis:
            assert POOL in ControlStore(Store(redis)).pauses()
            ControlStore(Store(redis)).resume(POOL)
        service.wait_for(gated, "succeeded")
        # What finished since is made once more: the same film, told once more.
        service.wait_for(waiting, "succeeded")
        assert digest(service, waiting) == before
        wait_until(lambda: told(receiver, waiting) == 2, 60, "the webhook of the end, again")
        # What cannot: what was accepted, deleted or revoked since.
        assert service.state(later) == "404"
        with service.redis() as redis:
            assert key_id in {key.id for key in KeyStore(Store(redis)).listed()}
            wait_until(lambda: Audit(redis).orphans() == [], 60, "nothing is left over")


def told(receiver: Receiver, video_id: str) -> int:
    """How often the receiver heard that this video is there."""
    bodies = [json.loads(received.body) for received in list(receiver.received)]
    return sum(body["type"] == "video.completed" and body["data"]["id"] == video_id for body in bodies)
