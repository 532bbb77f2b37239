"""The server itself: its clock, its limits, its absence; and the asyncio twin."""

import inspect
import time

import pytest
from redis.exceptions import ResponseError
from rig.processes import free_ports

from service.contracts.lifecycle import Stage, State
from service.store.connections import check_server, check_server_async, connect_async, connect_sync
from service.store.errors import StoreUnavailable, UnknownCursor, UnsuitableServer, reaching_redis
from service.store.nouns import Beat, Cancelled, CancelOutcome, Note, SubmitOutcome
from service.store.script import AsyncStore, Store
from service.store.store import AsyncJobStore, JobStore


def public(owner: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for name, method in vars(owner).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def test_the_blocking_and_the_asyncio_store_offer_the_same(redis):
    assert public(JobStore) == public(AsyncJobStore)


async def test_the_asyncio_store_works_on_the_same_record(redis, redis_url, make_submission):
    client = connect_async(redis_url)
    await check_server_async(client)
    jobs = AsyncJobStore(AsyncStore(client))
    assert (await jobs.submit(make_submission("video_a"))).outcome is SubmitOutcome.CREATED
    assert await jobs.queue_depth("default") == 1
    assert await jobs.live_workers("default") == 0
    (claim,) = await jobs.claim("default", "w1", 1, 15, ["micro"])
    assert await jobs.beat("w1", [("video_a", claim.attempt)], 15) == {"video_a": Beat.OK}
    assert await jobs.cancel("default", "video_a") is CancelOutcome.FLAGGED
    assert (await jobs.finish("video_a", 1, Cancelled())).accepted
    with pytest.raises(UnknownCursor):
        await jobs.list_jobs("default", after="video_none")
    assert JobStore(Store(redis)).get("default", "video_a") == await jobs.get("default", "video_a")
    await client.aclose()


def test_without_a_tests_clock_time_is_the_servers(redis, make_submission):
    jobs = JobStore(Store(redis))
    jobs.submit(make_submission("video_a"))
    assert abs(jobs.get("default", "video_a").created_at - time.time()) < 5
    jobs.claim("default", "w1", 1, 0.05, ["micro"])
    jobs.reap(0.05, every_s=0)
    time.sleep(0.06)
    assert jobs.reap(10, every_s=0).ids == ("video_a",)


def test_scripts_survive_a_server_that_forgot_them(scene):
    scene.submit("video_a")
    scene.redis.script_flush()
    assert scene.jobs.get("default", "video_a").state is State.QUEUED


def test_a_client_that_decodes_replies_will_do_too(redis_url, scene):
    scene.submit("video_a", prompt="ü")
    decoding = type(scene.redis).from_url(redis_url, decode_responses=True)
    jobs = JobStore(Store(decoding, scene.jobs.store.library))
    assert jobs.get("default", "video_a") == scene.jobs.get("default", "video_a")
    decoding.close()


def test_a_transition_that_the_table_does_not_know_is_refused_by_the_server(scene):
    scene.submit("video_a")
    scene.redis.hset("{mc}:job:video_a", mapping={"state": "succeeded", "expires_at": "2000000000"})
    assert scene.claim() == ()
    assert "succeeded is never followed by running" in scene.reap().aside["video_a"]


def test_full_memory_refuses_new_jobs_and_lets_running_ones_go_on(start_server, tmp_path, make_submission):
    client = connect_sync(start_server(tmp_path))
    jobs = JobStore(Store(client))
    for n in range(3):
        jobs.submit(make_submission(f"video_{n}"))
    assert len(jobs.claim("default", "w1", 1, 15, ["micro"])) == 1
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        jobs.submit(make_submission("video_more"))
    assert jobs.beat("w1", [("video_0", 1)], 15) == {"video_0": Beat.OK}
    assert jobs.note("video_0", 1, Note(Stage.TEXT_TO_IMAGE, 1, 4, 5))
    assert jobs.release("video_0", 1, "drain")
    assert jobs.reap(15).ran
    assert jobs.cancel("default", "video_0") is CancelOutcome.CANCELLED
    (claim,) = jobs.claim("default", "w1", 1, 15, ["micro"])
    assert jobs.finish(claim.job.id, 1, Cancelled()).accepted
    jobs.delete("default", claim.job.id)
    assert jobs.purge(claim.job.id)
    client.close()


def test_a_cluster_is_refused(start_server, tmp_path):
    # the cluster's own port is 10,000 above the client port unless told: often beyond 65,535
    (bus,) = free_ports(1)
    client = connect_sync(start_server(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(bus)))
    with pytest.raises(UnsuitableServer, match="Cluster"):
        check_server(client)
    client.close()


def test_a_server_that_throws_keys_away_is_refused(start_server, tmp_path):
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    client = connect_sync(start_server(tmp_path, *options))
    with pytest.raises(UnsuitableServer, match="allkeys-lru"):
        check_server(client)
    client.config_set("maxmemory-policy", "noeviction")
    check_server(client)
    client.close()


def test_an_absent_server_is_told_at_once_and_not_asked_twice():
    client = connect_sync("redis://127.0.0.1:1", timeout_s=0.5)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        JobStore(Store(client)).get("default", "video_a")
    with pytest.raises(StoreUnavailable):
        check_server(client)
    assert time.monotonic() - started < 15


async def test_an_absent_server_is_told_to_asyncio_callers_too():
    client = connect_async("redis://127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(StoreUnavailable):
        await AsyncJobStore(AsyncStore(client)).get("default", "video_a")
    with pytest.raises(StoreUnavailable):
        await check_server_async(client)
    await client.aclose()


def test_a_server_whose_disk_is_full_is_away_for_now():
    with pytest.raises(StoreUnavailable, match="MISCONF"), reaching_redis():
        raise ResponseError("MISCONF Errors writing to the AOF file: No space left on device")
    with pytest.raises(ResponseError, match="our mistake"), reaching_redis():
        raise ResponseError("ERR our mistake")
