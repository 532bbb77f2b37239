"""A gateway that is older than a record: it refuses in words, counts, deletes nothing, serves the rest."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from redis import Redis
from rig.processes import wait_until
from structlog.testing import capture_logs

from service.contracts.keys import artifact_prefix
from service.contracts.schema import RECORD_SCHEMA
from service.janitor import Janitor
from service.queue import Tickets
from service.store.connections import connect_async, connect_sync
from service.store.script import AsyncStore, Library, Store
from service.store.store import AsyncJobStore, JobStore
from service.sweep import Sweep


@pytest.fixture
def newer_id(site: Any) -> str:
    """A job that a version after this one accepted, with an object that only that one knows."""
    job_id = site.create()["id"]
    submitted = site.jobs.record(job_id)
    redis: Redis = site.redis
    redis.hset(f"{{mc}}:job:{job_id}", "schema", RECORD_SCHEMA + 1)
    redis.hincrby("{mc}:schemas", str(RECORD_SCHEMA), -1)
    redis.hincrby("{mc}:schemas", str(RECORD_SCHEMA + 1), 1)
    site.artifacts.put(f"{artifact_prefix(submitted.tenant, job_id)}1/hologram.bin", b"new", "text/plain")
    return str(job_id)


def test_a_newer_job_is_answered_503_with_the_reason_and_the_others_are_served(
    site: Any, newer_id: str
) -> None:
    own = site.create()["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/content")):
        problem = site.problem(503, site.client.request(method, f"/videos/{newer_id}{path}"))
        assert f"the record of {newer_id} is of schema 2, this version reads up to 1" in problem["detail"]
        assert "retry-after" in site.client.get(f"/videos/{newer_id}").headers
    assert site.client.get(f"/videos/{own}").status_code == 200
    assert [video["id"] for video in site.client.get("/videos").json()["data"]] == [own]
    assert site.worker.render() == own
    newer = JobStore(Store(site.redis, Library(schema=RECORD_SCHEMA + 1)))
    assert newer.get("default", newer_id).state == "queued"


def test_metrics_count_the_records_that_are_left(site: Any, newer_id: str) -> None:
    def told() -> bool:
        page = site.client.get("/metrics").text
        return re.search(r"^microcinema_newer_records 1\.0$", page, re.MULTILINE) is not None

    wait_until(told, 10, f"{newer_id} is counted")


@pytest.fixture
def heard_logs() -> Iterator[list[Any]]:
    """The other tests of this file run with logs off."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with capture_logs() as lines:
        yield lines
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def test_the_sweep_says_how_many_records_are_left_whenever_that_changes(
    empty_record: None, redis_url: str, heard_logs: list[Any]
) -> None:
    async def sweep_with(counts: list[int]) -> None:
        with connect_sync(redis_url) as blocking:
            redis = connect_async(redis_url)
            sweep = Sweep(AsyncJobStore(AsyncStore(redis)), Tickets(blocking), 15.0)
            for count in counts:
                blocking.hset("{mc}:schemas", mapping={RECORD_SCHEMA: 7, RECORD_SCHEMA + 1: count})
                blocking.set("{mc}:reaper", 0)
                await sweep.once()
            await redis.aclose()

    asyncio.run(sweep_with([0, 2, 2, 0]))
    told = [line["left"] for line in heard_logs if line["event"] == "records_of_newer_version"]
    assert told == [2, 0]


def test_the_janitor_deletes_nothing_of_a_job_that_it_cannot_read(site: Any, newer_id: str) -> None:
    site.artifacts.put("default/video_unknown/1/video.mp4", b"nobody's", "video/mp4")
    janitor = Janitor(site.jobs, site.artifacts, lease_s=15, clock=lambda: time.time() + 2 * 86400)
    assert janitor.sweep().objects == 1
    kept = [stored.key for stored in site.artifacts.list("default/")]
    assert kept == [f"default/{newer_id}/1/hologram.bin"]


def test_a_url_of_a_newer_job_is_told_apart_from_an_unknown_one(site: Any, newer_id: str) -> None:
    assert site.client.get("/videos/video_unknown").status_code == 404
    answer: httpx.Response = site.client.get(f"/videos/{newer_id}")
    assert site.problem(503, answer)["code"] == "record_unavailable"
