"""Many calls on one connection: each gets its own answer, whatever becomes of the others or of the server."""

import asyncio
import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError, ResponseError, TimeoutError  # noqa: A004
from rig.certificates import certificate
from rig.told_redis import ECHO, Told, echo, shared, told_by

from service.store.connections import connect_async, connect_sync
from service.store.errors import StoreUnavailable, reaching_redis
from service.store.nouns import SubmitOutcome
from service.store.script import AsyncStore
from service.store.store import AsyncJobStore


def connections_of(redis, name: str = "eval") -> list[str]:
    return [line["addr"] for line in redis.client_list() if line["cmd"].startswith(name)]


# ---- a real server ----


async def test_a_job_goes_through_it_as_through_the_clients_own_pool(redis, redis_url, make_submission):
    async with shared(redis_url) as connection:
        jobs = AsyncJobStore(AsyncStore(connection))
        assert (await jobs.submit(make_submission("video_a", prompt="a red ◯"))).outcome is (
            SubmitOutcome.CREATED
        )
        ours = await jobs.get("default", "video_a")
    client = connect_async(redis_url, 20.0)
    assert ours == await AsyncJobStore(AsyncStore(client)).get("default", "video_a")
    await client.aclose()


async def test_calls_of_one_time_share_one_connection_and_get_each_its_own_answer(redis, redis_url):
    async with shared(redis_url) as connection:
        answers = await asyncio.gather(*(connection.eval(ECHO, 0, f"{n}" * n) for n in range(200)))
        assert answers == [f"{n}".encode() * n for n in range(200)]
        assert len(connections_of(redis)) == 1


async def test_a_scripts_error_is_its_callers_alone(redis, redis_url):
    async with shared(redis_url) as connection:
        answers = await asyncio.gather(
            connection.eval(ECHO, 0, "before"),
            connection.eval("return redis.error_reply('NEWER 7')", 0),
            connection.evalsha("0" * 40, 0),
            connection.eval(ECHO, 0, "behind"),
            return_exceptions=True,
        )
    assert (answers[0], answers[3]) == (b"before", b"behind")
    assert (type(answers[1]), str(answers[1])) == (ResponseError, "NEWER 7")
    assert type(answers[2]).__name__ == "NoScriptError"


async def test_numbers_arrive_as_the_clients_own_pool_sends_them(redis, redis_url):
    numbers = (0, -3, 10**15, 0.1, 1.5, 1e22, 3600.0)
    client = connect_async(redis_url, 20.0)
    async with shared(redis_url) as connection:
        assert await connection.eval("return ARGV", 0, *numbers) == await client.eval(
            "return ARGV", 0, *numbers
        )
    await client.aclose()


async def test_scripts_that_the_server_forgot_are_sent_again(redis, redis_url, make_submission):
    async with shared(redis_url) as connection:
        jobs = AsyncJobStore(AsyncStore(connection))
        await jobs.submit(make_submission("video_a"))
        redis.script_flush()
        seen = await asyncio.gather(*(jobs.get("default", "video_a") for _ in range(20)))
    assert {job.id for job in seen} == {"video_a"}


async def test_a_connection_that_the_server_ends_is_made_anew(redis, redis_url):
    async with shared(redis_url) as connection:
        await connection.eval(ECHO, 0, "a")
        before = connections_of(redis)
        redis.client_kill(*before)
        with suppress(StoreUnavailable), reaching_redis():  # until its end has arrived
            assert await connection.eval(ECHO, 0, "b") == b"b"
        assert await connection.eval(ECHO, 0, "c") == b"c"
        assert len(before) == len(connections_of(redis)) == 1
        assert before != connections_of(redis)


async def test_it_logs_in_as_the_address_says(start_server, tmp_path):
    url = start_server(tmp_path)
    with connect_sync(url) as open_to_all:
        open_to_all.config_set("requirepass", "secret")
    with_password = url.replace("redis://", "redis://:secret@").replace("/0", "/3")
    async with shared(with_password) as connection:
        await connection.eval("redis.call('SET', 'there', 1)", 0)
    client = connect_async(with_password)
    assert await client.get("there") == b"1"
    assert (await client.client_info())["db"] == 3
    await client.aclose()
    async with shared(url) as connection:
        with pytest.raises(StoreUnavailable), reaching_redis():
            await connection.eval(ECHO, 0, "a")


# ---- a server that is told how to answer ----


@given(
    words=st.lists(st.text(alphabet="ab\r\n$", max_size=30), min_size=1, max_size=8), piece=st.integers(1, 20)
)
def test_answers_may_come_in_any_pieces(words, piece):
    async def asked() -> list[bytes]:
        async with told_by(echo, piece=piece) as (connection, _):
            return await asyncio.gather(*(connection.eval(ECHO, 0, word) for word in words))

    assert asyncio.run(asked()) == [word.encode() for word in words]


async def test_a_caller_that_leaves_disturbs_no_other():
    gate = asyncio.Event()

    async def held(word: bytes) -> bytes:
        await gate.wait()
        return await echo(word)

    async with told_by(held) as (connection, server):
        callers = [asyncio.create_task(connection.eval(ECHO, 0, f"{n}")) for n in range(6)]
        await asyncio.sleep(0)
        callers[0].cancel()  # while it is dialled for
        await server.asked.wait()
        callers[2].cancel()  # while its answer is waited for
        gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert await connection.eval(ECHO, 0, "next") == b"next"
    assert [type(answer) for answer in answers[0:3:2]] == [asyncio.CancelledError] * 2
    assert [answers[n] for n in (1, 3, 4, 5)] == [b"1", b"3", b"4", b"5"]
    assert server.dialled == 1


async def test_a_late_answer_fails_its_caller_alone_and_is_never_anothers():
    gate = asyncio.Event()

    async def first_held(word: bytes) -> bytes:
        if word == b"first":
            await gate.wait()
        return await echo(word)

    async with told_by(first_held, timeout_s=1.0) as (connection, server):
        first = asyncio.create_task(connection.eval(ECHO, 0, "first"))
        await asyncio.sleep(0.5)  # so much more time has the next one
        second = asyncio.create_task(connection.eval(ECHO, 0, "second"))
        with pytest.raises(StoreUnavailable, match="Timeout"), reaching_redis():
            await first
        gate.set()
        assert await second == b"second"
        await asyncio.wait_for(server.ended.wait(), 10)  # it gets no more calls, so it is given up
        assert await connection.eval(ECHO, 0, "third") == b"third"
        assert server.dialled == 2


async def test_a_silent_server_is_left_when_every_caller_has_waited_for_long_enough():
    silent = asyncio.Event()

    async def never(_: bytes) -> bytes:
        await silent.wait()
        return b""

    async with told_by(never, timeout_s=0.3) as (connection, server):
        asked = (connection.eval(ECHO, 0, f"{n}") for n in range(5))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {TimeoutError}
        silent.set()
        await asyncio.wait_for(server.ended.wait(), 10)


@pytest.mark.parametrize("noise", [b"?what\r\n", b"+one\r\n+more than was asked for\r\n"])
async def test_what_is_not_an_answer_ends_the_connection_and_not_the_process(noise):
    async def noisy(word: bytes) -> bytes:
        return noise if word == b"noise" else await echo(word)

    async with told_by(noisy) as (connection, server):
        with suppress(StoreUnavailable), reaching_redis():
            assert await connection.eval(ECHO, 0, "noise") == b"one"
        await asyncio.wait_for(server.ended.wait(), 10)
        assert await connection.eval(ECHO, 0, "next") == b"next"
        assert server.dialled == 2


async def test_a_server_that_may_not_write_any_more_is_left_for_the_one_that_may():
    async def demoted(word: bytes) -> bytes:
        return b"-READONLY a replica\r\n" if word == b"first" else await echo(word)

    async with told_by(demoted) as (connection, server):
        with pytest.raises(StoreUnavailable), reaching_redis():
            await connection.eval(ECHO, 0, "first")
        await asyncio.wait_for(server.ended.wait(), 10)
        assert await connection.eval(ECHO, 0, "next") == b"next"
        assert server.dialled == 2


async def test_it_is_dialled_once_for_all_that_wait_for_it():
    async with shared("redis://127.0.0.1:1") as connection:
        asked = [asyncio.create_task(connection.eval(ECHO, 0, "a")) for _ in range(5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert len({id(answer) for answer in answers}) == 1
    assert isinstance(answers[0], ConnectionError)


async def test_whoever_waits_when_it_is_closed_is_told():
    async def never(_: bytes) -> bytes:
        return b""

    async with told_by(never) as (connection, server):
        asked = asyncio.create_task(connection.eval(ECHO, 0, "a"))
        await server.asked.wait()
        await connection.aclose()
        with pytest.raises(StoreUnavailable), reaching_redis():
            await asked


async def test_it_speaks_tls_as_the_address_says(tmp_path):
    made, key = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    server = Told(echo)
    listening = await server.listen(context)
    port = listening.sockets[0].getsockname()[1]
    async with shared(f"rediss://localhost:{port}/0?ssl_ca_certs={made}") as connection:
        answers = await asyncio.gather(*(connection.eval(ECHO, 0, f"{n}" * 9000) for n in range(20)))
    await server.close(listening)
    assert answers == [f"{n}".encode() * 9000 for n in range(20)]
