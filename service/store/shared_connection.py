"""One connection to Redis for everything that a process's event loop asks the scripts.

Redis answers a connection's calls in their order, so a call needs no connection of its own while it waits: it
is written behind those before it, and the answers find their callers by counting. A pool hands each call a
connection, looks whether that still lives, and waits in its name; together that costs more than the call
(docs/benchmarks.md). redis-py makes the connection (addresses, TLS, logins); hiredis reads and writes.
"""

import asyncio
from collections import deque
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the client library's own name
    ReadOnlyError,
    TimeoutError,  # noqa: A004 - the client library's own name
)

_INCOMPLETE: Final = object()


class SharedConnection:
    """EVALSHA and EVAL as `redis` has them, with its address, login and errors; `timeout_s` for each answer.

    For one event loop. A call is never sent twice. One that is on its way takes effect whoever stops waiting
    for it. A connection that is lost fails the calls on it, and the next call makes another; one that is late
    with an answer fails the calls whose time is up, may still answer those behind, and gets no new ones.
    """

    def __init__(self, redis: Redis, timeout_s: float) -> None:
        self._pool = redis.connection_pool
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._open: list[_Wire] = []  # it, and those before it that still owe answers
        self._dialling: asyncio.Task[_Wire] | None = None

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: str | int | float) -> Any:
        return await self._ask(("EVALSHA", sha, numkeys, *keys_and_args))

    async def eval(self, script: str, numkeys: int, *keys_and_args: str | int | float) -> Any:
        return await self._ask(("EVAL", script, numkeys, *keys_and_args))

    async def aclose(self) -> None:
        """Whoever still waits gets a ConnectionError. Returns when every connection is closed."""
        while self._dialling is not None:  # more than once: wait_for of Python 3.11 may lose a cancellation
            self._dialling.cancel()
            await asyncio.wait([self._dialling], timeout=0.05)
        for wire in tuple(self._open):
            await wire.aclose()

    async def _ask(self, words: tuple[str | int | float, ...]) -> Any:
        wire = self._wire
        if wire is None or not wire.usable:
            wire = await self._dialled()
        return await wire.ask(words)

    async def _dialled(self) -> "_Wire":
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial())
            self._dialling.add_done_callback(self._take)
        dialling = self._dialling
        try:
            # Shielded: the others still want it when the one who began it leaves.
            return await asyncio.shield(dialling)
        except asyncio.CancelledError:
            waits = asyncio.current_task()
            if dialling.cancelled() and waits is not None and not waits.cancelling():
                raise ConnectionError("Connection closed.") from None
            raise

    async def _dial(self) -> "_Wire":
        connection = cast(Any, self._pool).make_connection()  # untyped there
        await connection.connect()
        return _Wire(connection, self._timeout_s)

    def _take(self, dialling: "asyncio.Task[_Wire]") -> None:
        self._dialling = None
        if not dialling.cancelled() and dialling.exception() is None:
            self._wire = dialling.result()
            self._open = [wire for wire in self._open if not wire.lost] + [self._wire]


class _Wire(asyncio.Protocol):
    """An open connection, taken over from redis-py once it has logged in."""

    def __init__(self, connection: AbstractConnection, timeout_s: float) -> None:
        # Out of its hands, or it would close what it has when it is collected; so would the writer.
        self._writer, connection._writer, connection._reader = connection._writer, None, None
        assert self._writer is not None
        self._timeout_s = timeout_s
        self._transport = self._writer.transport
        self._transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(replyError=DefaultParser.parse_error, notEnoughData=_INCOMPLETE)
        self._calls: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._wanted = True

    @property
    def usable(self) -> bool:
        """Whether it should get new calls; not from its end on, though that is told a turn later."""
        return self._wanted and not self._transport.is_closing()

    @property
    def lost(self) -> bool:
        """Whether it is closed, and owes nobody anything."""
        return self._lost.is_set()

    def ask(self, words: tuple[str | int | float, ...]) -> "asyncio.Future[Any]":
        answer = self._loop.create_future()
        if not self.usable:
            answer.set_exception(ConnectionError("Connection closed by server."))
            return answer
        self._transport.write(hiredis.pack_command(cast(Any, words)))  # typed as one word
        until = self._loop.time() + self._timeout_s
        self._calls.append((until, answer))
        if self._alarm is None:
            self._alarm = self._loop.call_at(until, self._look)
        return answer

    async def aclose(self) -> None:
        self._transport.abort()
        await self._lost.wait()

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not _INCOMPLETE:
                if isinstance(reply, hiredis.PushNotification):
                    continue  # nobody asked for it: where the address says protocol=3 it may come at any time
                _, answer = self._calls.popleft()
                if answer.done():  # nobody waits any more
                    continue
                if isinstance(reply, Exception):
                    if isinstance(reply, ReadOnlyError):
                        self._wanted = False  # another is the primary now; its address may lead there already
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError):  # not Redis' protocol, or more answers than calls
            self._transport.abort()
        if not (self._wanted or self._calls):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wanted = False
        if self._alarm is not None:
            self._alarm.cancel()
        for _, answer in self._calls:
            if not answer.done():
                answer.set_exception(ConnectionError(str(exc or "Connection closed by server.")))
        self._calls.clear()
        self._lost.set()

    def _look(self) -> None:
        """One alarm for all: it rings when the oldest call that waited then is late, or has its answer."""
        self._alarm = None
        now = self._loop.time()
        for until, answer in self._calls:
            if until > now:
                self._alarm = self._loop.call_at(until, self._look)
                return
            self._wanted = False
            if not answer.done():
                answer.set_exception(TimeoutError("Timeout reading from the server"))
        if self._calls:  # all are late, and it gets no more
            self._transport.abort()
