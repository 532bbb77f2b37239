"""A gateway on a real socket, in a thread of the test's own process."""

import asyncio
import contextlib
import socket
import threading

import uvicorn

from rig.processes import wait_until
from service.api.parts import GatewayParts
from service.app import create_app
from service.main import server_config


class _Prompt(uvicorn.Server):
    """Ends when it is asked to, and not at the next tick: hundreds of tests wait for its end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Gives connections a tenth of a second to close, if there are any."""
        if self.server_state.connections or self.server_state.tasks:
            return await super().shutdown(sockets)
        for server in self.servers:
            server.close()
        return await self.lifespan.shutdown()

    def end(self) -> None:
        """From any thread; also of one that has ended."""
        self.should_exit = True
        if self._loop is not None and self._asked is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._asked.set)


class ServerThread:
    """uvicorn on a free port, in a thread of this process."""

    def __init__(self, parts: GatewayParts) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = _Prompt(server_config(create_app(parts), parts.settings))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> "ServerThread":
        self._thread.start()
        wait_until(lambda: self._server.started, 30, "uvicorn has started")
        return self

    def stop(self) -> None:
        """Asks, as a SIGTERM does, and does not wait."""
        self._server.end()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(30)
        self._socket.close()
        assert not self._thread.is_alive()
