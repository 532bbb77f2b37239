"""What a snapshot says of the Redis server itself: how durable it is, and what its files are like."""

import time

import pytest

from service.store.connections import connect_sync
from service.store.script import Store
from service.store.store import JobStore


@pytest.fixture
def durable(start_server, tmp_path):
    """A server that keeps an append-only file, and its folder."""
    folder = tmp_path / "durable"
    with connect_sync(start_server(folder, "--appendonly", "yes"), timeout_s=20) as redis:
        yield redis, folder


def report(redis):
    return JobStore(Store(redis)).snapshot().server


def settled(redis, field):
    """Wait until nothing of this kind is under way."""
    for _ in range(200):
        told = redis.info("persistence")
        if not any(told.get(name) for name in (field, "aof_rewrite_scheduled")):
            return
        time.sleep(0.05)
    raise AssertionError(told)


def test_a_server_without_a_file_says_so(scene):
    server = scene.jobs.snapshot().server
    assert server.memory > 100_000
    assert (server.aof_enabled, server.aof_bytes, server.memory_bound) == (False, 0, 0)
    assert (server.aof_written, server.aof_rewritten, server.snapshot_saved) == (True, True, True)


def test_the_file_grows_and_a_rewrite_makes_it_short(durable, make_submission):
    redis, _ = durable
    redis.config_set("maxmemory", 10**9)
    jobs = JobStore(Store(redis))
    for n in range(50):
        jobs.submit(make_submission(f"video_{n}"))
    grown = report(redis)
    assert (grown.aof_enabled, grown.memory_bound) == (True, 10**9)
    assert grown.aof_bytes > 50_000 + grown.aof_base_bytes
    redis.bgrewriteaof()
    settled(redis, "aof_rewrite_in_progress")
    short = report(redis)
    assert short.aof_rewritten
    assert 0 < short.aof_base_bytes <= short.aof_bytes < grown.aof_bytes


def test_a_rewrite_and_a_dump_that_fail_are_told(durable):
    redis, folder = durable
    for name in ("dump.rdb", "appendonlydir/appendonly.aof.2.base.rdb"):  # where the next ones are to be
        (folder / name / "in the way").mkdir(parents=True)
    redis.bgrewriteaof()
    settled(redis, "aof_rewrite_in_progress")
    redis.bgsave()
    settled(redis, "rdb_bgsave_in_progress")
    server = report(redis)
    assert (server.aof_written, server.aof_rewritten, server.snapshot_saved) == (True, False, False)
