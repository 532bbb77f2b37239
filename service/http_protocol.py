"""uvicorn's HTTP/1.1, with an end to every wait for a client, and answers that leave in one piece.

uvicorn itself ends only the pause between two requests (`timeout_keep_alive`). A connection that never asks,
a head that comes letter by letter and an answer that is not taken would each be waited for without end, the
last with one of the process's places for requests. How long a body may take is service/limits.py's to say.

uvicorn also gives head and body of an answer to the kernel one after the other. Each such call, the packet
and the waking of a reader that come of it cost more than most of what is done for a request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.limits import BODY_IS_HERE
from service.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class ClientTimeouts:
    """`head_s`: from the connection, or the first byte of a later request, to the end of its head (seconds).

    `send_s`: until the kernel has taken each piece of an answer (at most one chunk of a file). It takes what
    fits into the client's window, so this is in effect the slowest rate at which a file may be read.
    """

    head_s: float
    send_s: float


class _Timer:
    """Calls `late` unless stopped within `seconds` of its start. Starting a running one changes nothing."""

    def __init__(self, seconds: float, late: Callable[[], None]) -> None:
        self._seconds = seconds
        self._late = late
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._late)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


#: Longer pieces go to the kernel at once: a head is none, and a piece of a file would only be copied (bytes).
_HELD_BYTES = 16 * 1024


class _Gathering:
    """A transport that keeps what is short back until the loop's next turn, for what follows it until then.

    Answers of one turn leave one behind the other, so a reader of several is woken once.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if len(self._held) + len(data) > _HELD_BYTES:
            self._let_go()
            self._transport.write(data)
        elif self._held:
            self._held += data
        elif data:
            self._held = data
            self._loop.call_soon(self._let_go)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def abort(self) -> None:
        self._held = b""
        self._transport.abort()

    def _let_go(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


class ImpatientProtocol(H11Protocol):
    """One connection. It is aborted, not closed: a close would wait for the client to take the rest."""

    timeouts: ClassVar[ClientTimeouts]
    leaving: ClassVar[Callable[[], None]]
    given_up: ClassVar[Callable[[str], None]]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head = _Timer(self.timeouts.head_s, lambda: self._cut("head_timeout"))
        self._sending = _Timer(self.timeouts.send_s, lambda: self._cut("send_timeout"))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(cast(asyncio.Transport, _Gathering(transport, self.loop)))
        # Told of every byte that waits to be sent, and not only of 64 KiB and more.
        transport.set_write_buffer_limits(high=0)
        self._head.start()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head.stop()
            if not self.cycle.more_body:
                cast(dict[str, object], self.cycle.scope)[BODY_IS_HERE] = True
        elif self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._head.stop()  # that was the end of a body that nobody wanted
            self._rest()
        else:  # part of a head, or of such a body
            self._head.start()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._sending.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.stop()
        self._sending.stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops. It waits for answers to end, and a stream of events has no end of its own."""
        super().shutdown()
        type(self).leaving()

    def _rest(self) -> None:
        """Until the next request, as after an answer; uvicorn's own wait ended with what came since."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP/1.1, or a head too long. uvicorn answers that alone: no app hears of it."""
        type(self).given_up("malformed")
        super().send_400_response(msg)

    def _cut(self, reason: str) -> None:
        log.info("connection_cut", reason=reason)
        type(self).given_up(reason)
        self.transport.abort()


#: Why a connection is given up: the client's head or its taking of an answer is late, or it sent no HTTP.
GIVEN_UP = ("head_timeout", "send_timeout", "malformed")


def impatient_protocol(
    timeouts: ClientTimeouts, leaving: Callable[[], None], given_up: Callable[[str], None]
) -> type[ImpatientProtocol]:
    """The class that uvicorn makes one object of for each connection.

    `leaving` is called (once for each connection) when the server begins to stop, `given_up` with one of
    GIVEN_UP when it ends a connection for the client's fault.
    """

    class Chosen(ImpatientProtocol):
        pass

    Chosen.timeouts = timeouts
    Chosen.leaving = staticmethod(leaving)
    Chosen.given_up = staticmethod(given_up)
    return Chosen
