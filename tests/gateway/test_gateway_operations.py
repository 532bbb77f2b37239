"""Probes, metrics, request ids, log lines, and the process as an operator starts and stops it."""

import io
import json
import logging
import os
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from rig.processes import free_ports, python_module, wait_until

from service.logs import configure_logs
from service.queue_gauges import QueueGauges
from service.remembered import Remembered


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_probes(site: Any) -> None:
    assert site.client.get("/livez").json() == {"status": "alive"}
    ready = site.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "parts": {
            "redis": {"ready": True, "detail": None},
            "storage": {"ready": True, "detail": None},
        },
        "paused": {},
        "draining_workers": {},
    }


def test_metrics_show_the_queue_and_the_requests(site: Any) -> None:
    site.create()
    running = site.create()["id"]
    site.worker.claim()
    site.client.get(f"/videos/{running}")
    site.client.get("/videos/no-such-video")
    site.client.get("/no/such/path")
    site.client.request("BREW", "/videos")
    running_now = 'microcinema_jobs{state="running"} 1.0'
    wait_until(
        lambda: running_now in site.client.get("/metrics").text, 20, "a reading younger than the claim"
    )
    answer = site.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert value("microcinema_redis_up") == 1
    assert value("microcinema_jobs", state="queued") == 1
    assert value("microcinema_jobs", state="running") == 1
    assert value("microcinema_ready_jobs", pool="default") == 1
    assert value("microcinema_live_workers", pool="default") == 1
    assert value("microcinema_leases") == 1
    total = "microcinema_http_requests_total"
    assert value(total, method="POST", route="/videos", status="202") == 2
    assert value(total, method="GET", route="/videos/{video_id}", status="200") == 1
    assert value(total, method="GET", route="/videos/{video_id}", status="404") == 1
    assert value(total, method="GET", route="unmatched", status="404") == 1
    assert value(total, method="other", route="/videos", status="405") == 1
    refused = "microcinema_requests_refused_total"
    assert value(refused, code="unknown_video") == 1
    assert value(refused, code="unknown_route") == 1
    assert value(refused, code="wrong_method") == 1
    count = "microcinema_http_request_duration_seconds_count"
    assert value(count, method="POST", route="/videos") == 2


def test_metric_names_follow_prometheus_habits(site: Any) -> None:
    for family in text_string_to_metric_families(site.client.get("/metrics").text):
        if family.name.startswith("process_"):  # the client library's own
            continue
        assert family.name.startswith("microcinema_")
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"[a-z_]+", family.name)
        assert not re.search(r"_(ms|milliseconds|kb|minutes)(_|$)", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)


async def test_registering_the_gauges_needs_no_redis_and_readings_are_kept_for_a_second() -> None:
    asked = 0
    now = 100.0

    async def away() -> Any:
        nonlocal asked
        asked += 1
        raise ConnectionError("away")

    gauges = QueueGauges(Remembered(away, lambda: now))
    registry = CollectorRegistry()
    registry.register(gauges)
    assert asked == 0
    await gauges.refresh()
    assert registry.get_sample_value("microcinema_redis_up") == 0
    assert registry.get_sample_value("microcinema_jobs", {"state": "queued"}) is None

    async def counted() -> int:
        nonlocal asked
        asked += 1
        return asked

    remembered = Remembered(counted, lambda: now)
    first = await remembered.get()
    now += 0.9
    assert await remembered.get() == first
    now += 0.2
    assert await remembered.get() == first + 1


def test_every_answer_carries_a_request_id(site: Any) -> None:
    for method, path in (("GET", "/livez"), ("GET", "/nope"), ("POST", "/videos"), ("PUT", "/videos")):
        assert re.fullmatch(r"req_[0-9a-f]{24}", site.client.request(method, path).headers["x-request-id"])
    own = site.client.get("/livez", headers={"x-request-id": "my.id-1"})
    assert own.headers["x-request-id"] == "my.id-1"
    for bad in ("a" * 200, "with space", "new;line", ""):
        answer = site.client.get("/livez", headers={"x-request-id": bad})
        assert answer.headers["x-request-id"].startswith("req_")


def test_wrong_paths_and_methods_are_problems(site: Any) -> None:
    assert site.problem(404, site.client.get("/nope"))["code"] == "unknown_route"
    answer = site.client.put("/videos")
    assert site.problem(405, answer)["code"] == "wrong_method"
    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_slash_at_the_end_changes_nothing(site: Any, prefix: str) -> None:
    """And is no redirect, for which a client would have to send its body twice."""
    form = {"prompt": (None, "a red circle")}
    key = {"idempotency-key": "slash"}
    created = site.client.post(f"{prefix}/videos/", json={"prompt": "a red circle"}, headers=key)
    again = site.client.post(f"{prefix}/videos/", files=form, headers=key)
    assert (created.status_code, again.status_code) == (202, 200)
    video_id = created.json()["id"]
    assert again.json()["id"] == video_id
    assert created.headers["location"] == f"{site.url}{prefix}/videos/{video_id}"
    (listed,) = site.client.get(f"{prefix}/videos/").json()["data"]
    assert listed["id"] == site.client.get(f"{prefix}/videos/{video_id}/").json()["id"] == video_id
    assert site.client.head(f"{prefix}/models/").status_code == 200
    assert site.client.post(f"{prefix}/videos/{video_id}/cancel/").json()["state"] == "cancelled"
    assert site.problem(405, site.client.delete(f"{prefix}/videos/"))["detail"].startswith("DELETE")
    site.problem(404, site.client.get(f"{prefix}/videos//"))
    site.problem(404, site.client.get(f"{prefix}/models//"))


def test_head_is_get_without_the_body(site: Any) -> None:
    site.create()
    video_id = site.worker.render()
    paths = ["/livez", "/readyz", "/openapi.json"]
    for prefix in ("", "/v1"):
        paths += [f"{prefix}/videos", f"{prefix}/videos/{video_id}", f"{prefix}/models"]
        paths += [f"{prefix}/videos/{video_id}/content", f"{prefix}/videos/no-such-video"]
    for path in paths:
        whole, head = site.client.get(path), site.client.head(path)
        assert head.status_code == whole.status_code, path
        assert head.content == b""
        varying = {"date", "x-request-id"}
        assert {name: text for name, text in head.headers.items() if name not in varying} == {
            name: text for name, text in whole.headers.items() if name not in varying
        }
    assert site.client.head("/metrics").headers["content-type"].startswith("text/plain")
    assert site.client.head("/no/such/path").status_code == 404
    answer = site.client.head(f"/videos/{video_id}/cancel")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_defect_is_a_500_that_names_the_request_and_tells_nothing_else(start_gateway: Any) -> None:
    def broken(parts: Any) -> Any:
        async def explode() -> None:
            raise AssertionError("a secret detail")

        object.__setattr__(parts.metrics, "exposition", explode)
        return parts

    site = start_gateway(parts=broken)
    problem = site.problem(500, site.client.get("/metrics"))
    assert problem["request_id"] in problem["detail"]
    assert "secret" not in json.dumps(problem)
    assert site.client.get("/livez").status_code == 200


def test_log_lines_name_the_request_and_never_the_prompt(site: Any) -> None:
    root, ours = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("json", "INFO", process="gateway", stream=stream)
    try:
        body = {"prompt": "a very private prompt", "bogus": 1}
        site.client.post("/videos", json=body, headers={"x-request-id": "mine"})
        body.pop("bogus")
        made = site.client.post("/videos", json=body).json()["id"]
        site.client.get(f"/videos/{made}")
        site.client.get("/videos/not%20an%20id")
        site.client.get("/livez")
        wait_until(lambda: stream.getvalue().count('"event":"request"') == 4, 20, "four log lines")
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**ours)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first = next(line for line in lines if line["event"] == "request")
    assert (first["request_id"], first["route"], first["status"]) == ("mine", "/videos", 422)
    about = [line.get("job_id") for line in lines if line["event"] == "request"]
    assert about == [None, made, made, None]
    assert {line["tenant"] for line in lines if line["event"] == "request"} == {"default"}
    assert "private" not in stream.getvalue()
    assert "/livez" not in stream.getvalue()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_the_process_starts_serves_and_stops_with_exit_code_0(
    redis_url: str, tmp_path: Path, asked: signal.Signals
) -> None:
    (port,) = free_ports(1)
    with Redis.from_url(redis_url) as redis:
        redis.flushall()  # its storage was another test's
    environment = {
        "REDIS_URL": redis_url,
        "MICROCINEMA_PORT": str(port),
        "MICROCINEMA_STORAGE_DIR": str(tmp_path / "artifacts"),
    }
    gateway = python_module("service.main", environment, tmp_path, "gateway").start()
    try:

        def ready() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(ready, 60, "the gateway is ready")
        os.kill(gateway.pid, asked)
        assert gateway.wait(30) == 0
    finally:
        gateway.end()
    lines = [json.loads(line) for line in gateway.output().splitlines()]
    assert all(line["process"] == "gateway" for line in lines)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "REDIS_URL"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0", "MICROCINEMA_PORT": "0"}, "MICROCINEMA_PORT must be greater"),
        (
            {"REDIS_URL": "redis://127.0.0.1:1/0", "MICROCINEMA_CONTENT": "carrier-pigeon"},
            "got 'carrier-pigeon'",
        ),
        ({"REDIS_URL": "redis://127.0.0.1:1/0", "MICROCINEMA_STORAGE": "s3"}, "S3_BUCKET"),
        (
            {"REDIS_URL": "redis://127.0.0.1:1/0", "MICROCINEMA_STORAGE_DIR": "/dev/null/x"},
            "MICROCINEMA_STORAGE_DIR",
        ),
    ],
)
def test_unusable_settings_stop_it_with_a_sentence(
    environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    gateway = python_module("service.main", environment, tmp_path, "gateway").start()
    try:
        assert gateway.wait(60) == os.EX_CONFIG
    finally:
        gateway.end()
    assert says in gateway.output()
    assert "Traceback" not in gateway.output()


def test_a_public_address_without_a_key_stops_it_and_says_how_to_get_one(
    empty_record: None, redis_url: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    environment = {"REDIS_URL": redis_url, "MICROCINEMA_HOST": "0.0.0.0", "MICROCINEMA_PORT": str(port)}
    environment["MICROCINEMA_STORAGE_DIR"] = str(tmp_path / "artifacts")
    gateway = python_module("service.main", environment, tmp_path, "gateway").start()
    try:
        assert gateway.wait(60) == os.EX_CONFIG
    finally:
        gateway.end()
    assert "microcinema keys create" in gateway.output()
