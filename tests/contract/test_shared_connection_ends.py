"""What ends, ends for those who asked it alone: closing, a known loss, words that nobody asked for."""

import asyncio
import socket

import pytest
from redis.exceptions import ConnectionError  # noqa: A004 - the client library's own name
from rig.told_redis import ECHO, Told, echo, shared, told_by

from service.store.connections import connect_async
from service.store.errors import StoreUnavailable, reaching_redis
from service.store.shared_connection import SharedConnection


async def test_whoever_waits_for_the_dial_when_it_is_closed_is_told_and_not_cancelled():
    asked, over = asyncio.Event(), asyncio.Event()

    async def never_greets(reader, writer):
        await reader.readuntil(b"LIB-VER")
        asked.set()
        await over.wait()
        writer.close()

    listening = await asyncio.start_server(never_greets, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = connect_async(f"redis://127.0.0.1:{port}/0", 20.0)
    connection = SharedConnection(client, 20.0)
    told, leaves = (asyncio.create_task(connection.eval(ECHO, 0, "a")) for _ in range(2))
    await asked.wait()
    leaves.cancel()
    await asyncio.wait_for(connection.aclose(), 10)
    with pytest.raises(StoreUnavailable), reaching_redis():
        await told
    with pytest.raises(asyncio.CancelledError):
        await leaves
    over.set()
    listening.close()
    await client.aclose()


async def test_closing_ends_those_connections_too_that_only_owed_their_last_answers():
    gate = asyncio.Event()

    async def demoted(word: bytes) -> bytes:
        if word == b"held":
            await gate.wait()
        return b"-READONLY a replica\r\n" if word == b"first" else await echo(word)

    async with told_by(demoted) as (connection, server):
        words = ("first", "held")
        first, held = [asyncio.create_task(connection.eval(ECHO, 0, word)) for word in words]
        with pytest.raises(StoreUnavailable), reaching_redis():
            await first
        assert await connection.eval(ECHO, 0, "next") == b"next"
        assert server.dialled == 2
        await connection.aclose()
        answered, _ = await asyncio.wait([held], timeout=10)
        gate.set()
        assert answered
        assert isinstance(held.exception(), ConnectionError)


async def test_what_the_server_says_unasked_is_nobodys_answer():
    async def moving(word: bytes) -> bytes:
        return b">2\r\n+MIGRATING\r\n:1\r\n" + await echo(word)

    server = Told(moving)
    listening = await server.listen()
    port = listening.sockets[0].getsockname()[1]
    async with shared(f"redis://127.0.0.1:{port}/0?protocol=3") as connection:
        answers = await asyncio.gather(*(connection.eval(ECHO, 0, f"{n}") for n in range(5)))
        assert answers == [b"0", b"1", b"2", b"3", b"4"]
    await server.close(listening)


async def test_a_call_behind_one_that_found_the_connection_dead_is_not_written_into_the_void():
    async with told_by(echo) as (connection, server):
        await connection.eval(ECHO, 0, "warm")
        assert server.writer is not None
        server.writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        asked = (connection.eval(ECHO, 0, f"{n}") for n in range(9))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[0], ConnectionError)  # it may have taken effect
        assert answers[-1] == b"8"
        assert server.dialled == 2
