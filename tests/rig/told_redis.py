"""A server that answers a shared connection's calls as it is told, and one such connection to any server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import hiredis

from service.store.connections import connect_async
from service.store.shared_connection import SharedConnection

ECHO = "return ARGV[1]"


@asynccontextmanager
async def shared(url: str, timeout_s: float = 20.0) -> AsyncIterator[SharedConnection]:
    client = connect_async(url, timeout_s)
    connection = SharedConnection(client, timeout_s)
    yield connection
    await connection.aclose()
    await client.aclose()


class Told:
    """Says enough of Redis' protocol to be dialled; `answer` gives what it writes for an EVAL's argument."""

    def __init__(self, answer: Callable[[bytes], Awaitable[bytes]], piece: int = 65536) -> None:
        self._answer = answer
        self._piece = piece
        self._open: set[asyncio.Task[None]] = set()
        self.dialled = 0
        self.writer: asyncio.StreamWriter | None = None  # of the newest connection
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled += 1
        self.writer = writer
        self._open.add(asyncio.current_task())
        commands = hiredis.Reader()
        with suppress(ConnectionResetError):
            while data := await reader.read(65536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    if asked := command[0] == b"EVAL":
                        self.asked.set()
                    told = await self._answer(command[3]) if asked else b"+OK\r\n"
                    for first in range(0, len(told), self._piece):
                        writer.write(told[first : first + self._piece])
                        await asyncio.sleep(0)
        self.ended.set()
        writer.close()

    async def listen(self, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        return await asyncio.start_server(self, "127.0.0.1", 0, ssl=tls)

    async def close(self, listening: asyncio.Server) -> None:
        listening.close()
        await asyncio.gather(*self._open)


@asynccontextmanager
async def told_by(
    answer: Callable[[bytes], Awaitable[bytes]], timeout_s: float = 20.0, piece: int = 65536
) -> AsyncIterator[tuple[SharedConnection, Told]]:
    server = Told(answer, piece)
    listening = await server.listen()
    port = listening.sockets[0].getsockname()[1]
    async with shared(f"redis://127.0.0.1:{port}/0", timeout_s) as connection:
        yield connection, server
    await server.close(listening)


async def echo(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)
