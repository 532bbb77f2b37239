"""A gateway on a real socket, in a thread of the test's own process."""

import socket
import threading

import uvicorn

from rig.processes import wait_until
from service.api.parts import GatewayParts
from service.app import create_app
from service.main import server_config


class ServerThread:
    """uvicorn on a free port, in a thread of this process."""

    def __init__(self, parts: GatewayParts) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(server_config(create_app(parts), parts.settings))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> "ServerThread":
        self._thread.start()
        wait_until(lambda: self._server.started, 30, "uvicorn has started")
        return self

    def stop(self) -> None:
        """Asks, as a SIGTERM does, and does not wait."""
        self._server.should_exit = True

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(30)
        self._socket.close()
        assert not self._thread.is_alive()
