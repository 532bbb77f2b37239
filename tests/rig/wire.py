"""A connection of the gateway's protocol without a socket: what it reads is given, what it writes is kept."""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from service.http_protocol import ClientTimeouts, impatient_protocol


class Wire(asyncio.Transport):
    """What the kernel would have been given, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.calls.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str, default: object = None) -> object:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def connected(app: Any) -> tuple[H11Protocol, Wire]:
    """A connection that `app` answers, and its wire; call `connection_lost(None)` at the end."""
    protocol = impatient_protocol(ClientTimeouts(10.0, 10.0), lambda: None, lambda _: None)
    config = Config(
        app, http=protocol, lifespan="off", access_log=False, log_config=None, server_header=False
    )
    config.load()
    connection: H11Protocol = config.http_protocol_class(
        config=config, server_state=ServerState(), app_state={}
    )  # type: ignore[call-arg]
    wire = Wire()
    connection.connection_made(wire)
    return connection, wire
