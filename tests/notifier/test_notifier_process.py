"""The notifier as an operator starts it: a process, its environment, its signals, its death."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from redis.exceptions import RedisError
from rig.plain_http import PLAIN
from rig.processes import Running, free_ports, python_module, wait_until
from rig.valkey import answers, valkey

from service.cli.main import main
from service.notifier.main import TicketWorker
from service.store.connections import connect_sync
from service.store.script import Store
from service.store.store import JobStore

StartNotifier = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, redis, redis_url, secret) -> Iterator[StartNotifier]:
    started: list[Running] = []

    def started_one(**environment: str) -> Running:
        whole = {
            "REDIS_URL": redis_url,
            "MICROCINEMA_STORAGE_DIR": str(tmp_path / "artifacts"),
            "MICROCINEMA_WEBHOOK_SECRET": secret,
            "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
            "MICROCINEMA_WEBHOOK_DELAYS_S": "[0.2, 0.2, 0.2]",
            "MICROCINEMA_WEBHOOK_RELAY_EVERY_S": "0.05",
            "MICROCINEMA_JANITOR_EVERY_S": "0.2",
            "MICROCINEMA_LOG_FORMAT": "human",
            **environment,
        }
        name = f"notifier-{len(started)}"
        started.append(python_module("service.notifier.main", whole, tmp_path, name).start())
        return started[-1]

    yield started_one
    for each in started:
        each.end()


def has_started(notifier: Running) -> None:
    wait_until(lambda: "notifier_started" in notifier.output(), 60, f"started\n{notifier.output()}")


def test_from_an_event_to_a_verified_webhook(start, inbox, Reply, happen, verify, deliveries) -> None:
    inbox.replies = [Reply(500), Reply(500), Reply(200)]
    notifier = start()
    has_started(notifier)
    event_id = happen(inbox.url)
    letters = inbox.wait_for(3)
    assert {letter.id for letter in letters} == {event_id}
    assert {verify(letter)["id"] for letter in letters} == {event_id}
    wait_until(lambda: deliveries.relay().waiting == 0, 30, "the delivery has ended")
    notifier.terminate()
    assert notifier.wait(60) == 0
    assert "notifier_ended" in notifier.output()
    assert len(inbox.letters) == 3


def test_a_webhook_that_was_given_up_arrives_once_an_operator_sends_it_again(
    start, inbox, Reply, happen, verify, redis_url, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    inbox.replies = [Reply(500), Reply(500), Reply(200)]
    notifier = start(MICROCINEMA_WEBHOOK_DELAYS_S="[0.1]")
    event_id = happen(inbox.url)
    wait_until(lambda: "webhook_given_up" in notifier.output(), 60, f"given up\n{notifier.output()}")
    assert main(["webhooks", "redeliver", "--all-dead"]) == 0
    assert capsys.readouterr().out == "1 to be delivered again\n"
    letter = inbox.wait_for(3)[-1]
    assert letter.id == event_id
    assert verify(letter)["id"] == event_id


def test_an_outage_leaves_no_thread_of_the_ticket_worker_behind(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    server = valkey(tmp_path, port).start()
    before = set(threading.enumerate())
    try:
        wait_until(lambda: answers(url), 30, "a server")
        with connect_sync(url) as redis:
            worker = TicketWorker(redis, threading.Event())
            worker.bootstrap("WARNING")
            server.kill()
            with pytest.raises(RedisError):
                worker.teardown()
    finally:
        server.end()
    assert set(threading.enumerate()) == before


def test_an_idle_notifier_ends_at_once_on_each_signal(start) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        notifier = start()
        has_started(notifier)
        assert notifier.process is not None
        notifier.process.send_signal(each)
        assert notifier.wait(60) == 0, notifier.output()


def test_a_notifier_killed_in_mid_delivery_loses_nothing(start, inbox, Reply, happen, verify) -> None:
    """SIGKILL while the receiver thinks: the lease runs out and the next notifier tells it again."""
    inbox.replies = [Reply(after=threading.Event()), Reply(200)]
    event_id = happen(inbox.url)
    first = start(MICROCINEMA_WEBHOOK_TIMEOUT_S="0.5")
    inbox.wait_for(1)
    first.kill()
    start()
    letters = inbox.wait_for(2, seconds=60)
    assert [letter.id for letter in letters] == [event_id, event_id]
    verify(letters[1])


def test_events_of_a_time_without_notifier_are_told_later(start, inbox, happen) -> None:
    ids = {happen(inbox.url) for _ in range(150)}
    start()
    inbox.wait_for(150, seconds=100)
    assert Counter(letter.id for letter in inbox.letters) == Counter(ids)


def test_two_notifiers_at_once_tell_each_event_once(start, inbox, happen, deliveries) -> None:
    both = [start(), start()]
    for notifier in both:
        has_started(notifier)
    ids = {happen(inbox.url) for _ in range(60)}
    inbox.wait_for(60, seconds=60)
    wait_until(lambda: deliveries.relay().waiting == 0, 30, "all have ended")
    for notifier in both:
        notifier.terminate()
        assert notifier.wait(60) == 0
    assert Counter(letter.id for letter in inbox.letters) == Counter(ids)


def test_an_outage_of_redis_is_outlived(start, tmp_path, inbox, new_submission) -> None:
    """SIGKILL of the server, two seconds of nothing, and a start on the same folder."""
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    server = valkey(tmp_path / "valkey", port).start()
    try:
        wait_until(lambda: answers(url), 30, "valkey answers")
        notifier = start(REDIS_URL=url)
        has_started(notifier)
        with connect_sync(url) as redis:
            jobs = JobStore(Store(redis))
            jobs.submit(new_submission(inbox.url, "video_1"))
            jobs.cancel("default", "video_1")
            inbox.wait_for(1)
            server.kill()
            time.sleep(2)
            server.start()
            wait_until(lambda: answers(url), 30, "valkey answers again")
            jobs.submit(new_submission(inbox.url, "video_2"))
            jobs.cancel("default", "video_2")
        letters = inbox.wait_for(2, seconds=30)
        assert [letter.id for letter in letters] == ["evt_video_1_2", "evt_video_2_2"]
        assert notifier.alive()
        notifier.terminate()
        assert notifier.wait(60) == 0, notifier.output()
    finally:
        server.end()


def test_by_default_nothing_private_is_called(start, inbox, happen, redis) -> None:
    notifier = start(MICROCINEMA_WEBHOOK_ALLOW_PRIVATE="false")
    event_id = happen(inbox.url)
    wait_until(lambda: redis.zcard("{mc}:deliveries:dead") == 1, 60, "the delivery is given up")
    assert b"not a public address" in redis.hget(f"{{mc}}:delivery:{event_id}", "last_reason")
    assert inbox.letters == []
    wait_until(lambda: "webhook_given_up" in notifier.output(), 10, "a line for the operator")
    assert inbox.url not in notifier.output()  # its path may be a secret


def test_the_janitor_runs_in_this_process(start, jobs, submit, tmp_path) -> None:
    job_id = submit()
    left = tmp_path / "artifacts" / "default" / job_id / "input" / "picture.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"picture")
    jobs.delete("default", job_id)
    start()
    wait_until(lambda: jobs.record(job_id) is None, 60, "the record is purged")
    assert not left.exists()


def test_metrics_are_served_on_request(start, inbox, Reply, happen) -> None:
    (port,) = free_ports(1)
    inbox.replies = [Reply(500), Reply(200)]
    start(MICROCINEMA_NOTIFIER_METRICS_PORT=str(port))
    happen(inbox.url)
    inbox.wait_for(2, seconds=60)

    def page() -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics", **PLAIN).text
        except httpx.HTTPError:
            return ""

    wait_until(lambda: 'tries_total{verdict="delivered"} 1.0' in page(), 30, "the success is counted")
    lines = page().splitlines()
    assert 'microcinema_webhook_tries_total{verdict="retry"} 1.0' in lines
    assert 'microcinema_webhook_tries_total{verdict="dead"} 0.0' in lines
    assert "microcinema_webhook_try_seconds_count 2.0" in lines
    assert "microcinema_outbox_events 0.0" in lines


WEAK = "whsec_dG9vIHNob3J0IHRvIGJlIHNhZmU="


@pytest.mark.parametrize(
    ("environment", "sentence", "code"),
    [
        ({"MICROCINEMA_WEBHOOK_SECRET": WEAK}, "20 bytes, allowed are 24 to 64", os.EX_CONFIG),
        ({"REDIS_URL": ""}, "REDIS_URL", os.EX_CONFIG),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "Connection refused", 1),
        ({"MICROCINEMA_STORAGE": "s3"}, "S3_BUCKET is empty", os.EX_CONFIG),
        ({"MICROCINEMA_WEBHOOK_DELAYS_S": "5, 30"}, "MICROCINEMA_WEBHOOK_DELAYS_S: cannot be", os.EX_CONFIG),
        ({"MICROCINEMA_STORAGE_DIR": "/dev/null/x"}, "MICROCINEMA_STORAGE_DIR", os.EX_CONFIG),
    ],
)
def test_what_is_wrong_at_the_start_is_said_in_a_line(start, environment, sentence, code) -> None:
    notifier = start(**environment)
    assert notifier.wait(90) == code
    assert sentence in notifier.output()
    assert "Traceback" not in notifier.output()
    assert WEAK not in notifier.output()


def test_a_taken_metrics_port_is_said_in_a_line(start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        notifier = start(MICROCINEMA_NOTIFIER_METRICS_PORT=str(port))
        assert notifier.wait(90) == 1
    assert f"metrics cannot be served on 127.0.0.1:{port}" in notifier.output()
    assert "Traceback" not in notifier.output()
