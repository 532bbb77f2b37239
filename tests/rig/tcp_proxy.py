"""A TCP proxy that can lose the answer to one chosen request: the worst moment, made on purpose."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field


@dataclass
class LossyProxy:
    """Forwards 127.0.0.1:`port` to `upstream`; while `lose_answer_to` is set, the answer to the first request
    that contains those bytes is thrown away and the connection cut. The request itself arrives.
    """

    upstream: tuple[str, int]
    lost: int = 0  # answers thrown away so far
    _marker: bytes = b""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: socket.socket = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def lose_answer_to(self, marker: bytes) -> None:
        """Arm the trap for the next request that contains `marker`."""
        with self._lock:
            self._marker = marker

    def __enter__(self) -> LossyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            _Link(self, client, socket.create_connection(self.upstream)).start()

    def trapped(self, request: bytes) -> bool:
        """Is this the awaited request? Springs the trap."""
        with self._lock:
            if self._marker and self._marker in request:
                self._marker = b""
                return True
            return False


class _Link:
    """One client connection and its upstream twin."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._doomed = threading.Event()

    def start(self) -> None:
        for pump in (self._requests, self._answers):
            threading.Thread(target=pump, daemon=True).start()

    def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self._client.recv(65536):
                if self._proxy.trapped(piece):
                    self._doomed.set()
                self._server.sendall(piece)
        self._cut()

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self._server.recv(65536):
                if self._doomed.is_set():
                    self._proxy.lost += 1
                    break
                self._client.sendall(piece)
        self._cut()

    def _cut(self) -> None:
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
