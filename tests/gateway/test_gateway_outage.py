"""Redis away, silent, or back again: 503 within seconds, never a 500, and no promised job is lost."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError
from rig.processes import Running, free_ports, wait_until
from rig.valkey import answers, valkey

from service.api.presenting import OUTLOOK_LIMIT_S
from service.bell import Bell
from service.remembered import Remembered
from service.store.errors import StoreUnavailable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A Valkey of its own, which a test may kill, freeze and start again."""
    server = valkey(tmp_path / "own-valkey", free_ports(1)[0]).start()
    wait_until(lambda: answers(url_of(server)), 30, "valkey answers")
    yield server
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGCONT)
    server.end()


def url_of(server: Running) -> str:
    return f"redis://127.0.0.1:{server.argv[server.argv.index('--port') + 1]}/0"


Route = tuple[str, str, dict[str, Any]]
ROUTES: list[Route] = [
    ("POST", "/videos", {"json": {"prompt": "x"}}),
    ("GET", "/videos", {}),
    ("GET", "/videos/video_1", {}),
    ("DELETE", "/videos/video_1", {}),
    ("POST", "/videos/video_1/cancel", {}),
    ("GET", "/videos/video_1/content", {}),
    ("GET", "/models", {}),
]


def assert_unavailable(site: Any, routes: Sequence[Route] = ROUTES, *, storage: bool = True) -> None:
    for method, path, options in routes:
        began = time.monotonic()
        answer = site.client.request(method, path, **options)
        assert site.problem(503, answer)["code"] == "record_unavailable", path
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-should-retry"] == "true"
        assert time.monotonic() - began < 20
    assert site.client.get("/livez").status_code == 200
    ready = site.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"]["redis"]["ready"] is False
    assert ready.json()["parts"]["storage"]["ready"] is storage


def test_redis_gone_and_back(start_gateway: Any, server: Running, make_spec: Any) -> None:
    site = start_gateway(gateway_redis=url_of(server))
    assert site.client.get("/readyz").status_code == 200
    server.kill()
    assert_unavailable(site)
    server.start()
    wait_until(lambda: site.client.get("/readyz").status_code == 200, 30, "ready again")
    assert site.client.get("/videos").status_code == 200


def test_redis_frozen_hangs_nobody(start_gateway: Any, server: Running) -> None:
    site = start_gateway(gateway_redis=url_of(server))
    os.kill(server.pid, signal.SIGSTOP)
    # Each waits for its time limit. Whose storage it is nobody had asked the record yet.
    assert_unavailable(site, ROUTES[:2], storage=False)


def test_a_gateway_starts_without_redis(start_gateway: Any, server: Running) -> None:
    server.kill()
    site = start_gateway(gateway_redis=url_of(server))
    assert_unavailable(site, storage=False)  # the record alone knows whose storage it is
    assert "microcinema_redis_up 0.0" in site.client.get("/metrics").text


def test_redis_without_memory_is_503_for_new_jobs_only(site: Any) -> None:
    video_id = site.create()["id"]
    site.redis.config_set("maxmemory", "1")
    try:
        answer = site.client.post("/videos", json={"prompt": "x"})
        problem = site.problem(503, answer)
        assert problem["code"] == "record_unavailable"
        assert problem["detail"] == "Redis, which holds the jobs' records, is full: it can keep nothing new"
        assert site.client.get(f"/videos/{video_id}").status_code == 200
        assert site.client.post(f"/videos/{video_id}/cancel").status_code == 200
    finally:
        site.redis.config_set("maxmemory", "0")


def test_a_list_waits_once_for_what_it_can_do_without(start_gateway: Any, site: Any) -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    slow = start_gateway(parts=lambda parts: replace(parts, snapshots=Remembered(never, time.monotonic)))
    for _ in range(15):
        site.create()
    began = time.monotonic()
    listed = slow.client.get("/videos").json()["data"]
    assert time.monotonic() - began < 10 * OUTLOOK_LIMIT_S
    assert len(listed) == 15
    assert {video["queue"] for video in listed} == {None}


class SilentTickets:
    """RQ's queue cannot be reached; the record can."""

    def push(self, _pool: str) -> None:
        raise StoreUnavailable("no tickets today")

    def call_off(self, _worker: str, _job_id: str) -> None:
        raise StoreUnavailable("no hints either")


def test_a_ticket_that_cannot_be_pushed_costs_nothing(start_gateway: Any, site: Any) -> None:
    def without_tickets(parts: Any) -> Any:
        return replace(parts, intake=replace(parts.intake, bell=Bell(SilentTickets())))  # type: ignore[arg-type]

    quiet = start_gateway(parts=without_tickets)
    video_id = quiet.create()["id"]
    # the sweep finds that a job waits and no ticket lies there
    wait_until(lambda: site.parts.sweep.tickets.waiting("gpu-default") >= 1, 30, "the sweep pushed a ticket")
    site.worker.claim()
    assert quiet.client.post(f"/videos/{video_id}/cancel").json()["cancel_requested"] is True


@pytest.mark.usefixtures("empty_record")
def test_the_sweep_requeues_what_a_dead_worker_held(start_gateway: Any) -> None:
    # The script reaps at most every half second, and takes a gap of half a lease for an outage of its own.
    site = start_gateway(lease_s=4.0, parts=lambda parts: replace(parts, sweep=often(parts.sweep)))
    site.worker.announce()
    site.worker.lease_s = 1.0
    video_id = site.create()["id"]
    site.worker.claim()

    def state() -> str:
        return str(site.client.get(f"/videos/{video_id}").json()["state"])

    assert state() == "running"
    wait_until(lambda: state() == "queued", 30, "the lease ran out and the job waits again")
    assert site.worker.claim().attempt == 2


def often(sweep: Any) -> Any:
    return replace(sweep, every_s=0.1)


class FlickeringJobs:
    """Redis that fails twice and then answers."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.failures = 2

    async def reap(self, lease_s: float) -> Any:
        if self.failures:
            self.failures -= 1
            raise RedisError("away")
        return await self.real.reap(lease_s)


def test_the_sweep_outlives_an_outage(start_gateway: Any, site: Any) -> None:
    flickering: list[FlickeringJobs] = []

    def change(parts: Any) -> Any:
        flickering.append(FlickeringJobs(parts.sweep.jobs))
        return replace(parts, sweep=replace(parts.sweep, jobs=flickering[0], every_s=0.05))

    parts = start_gateway(parts=change).parts
    wait_until(lambda: flickering[0].failures == 0 and parts.sweep.redis_answers, 30, "the sweep goes on")
