"""A TCP proxy that can meddle at one chosen request: the worst moment, made on purpose."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Moment(Enum):
    """When a trap springs, as seen from the request that it waits for."""

    BEFORE = "the request never arrives"
    AFTER = "the request was answered, and the answer never arrives"


@dataclass
class Trap:
    """Waits for a request that contains `marker`; `spring` is called once, then the connection is cut."""

    marker: bytes
    moment: Moment
    spring: Callable[[], object]
    sprung: threading.Event = field(default_factory=threading.Event)


@dataclass
class LossyProxy:
    """Forwards 127.0.0.1:`port` to `upstream` and meddles as it is told.

    One trap at a time; `refusing` closes every new connection at once; `delay_s` holds each request back;
    `cut_after` breaks the next connection that sends more than so many bytes behind them, once;
    `cut_answer_after` does so with the bytes of answers.
    """

    upstream: tuple[str, int]
    lost: int = 0  # answers thrown away so far
    refusing: bool = False
    delay_s: float = 0.0
    cut_after: int | None = None
    cut_answer_after: int | None = None
    cuts: int = 0  # connections broken by these two so far
    _trap: Trap | None = None
    _links: set[_Link] = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: socket.socket = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def lose_answer_to(self, marker: bytes) -> Trap:
        """Throw the answer to the next request that contains `marker` away; the request itself arrives."""
        return self.trap(marker, Moment.AFTER, lambda: None)

    def trap(self, marker: bytes, moment: Moment, spring: Callable[[], object]) -> Trap:
        """Do `spring` at the next request that contains `marker`. Takes the place of an earlier trap."""
        trap = Trap(marker, moment, spring)
        with self._lock:
            self._trap = trap
        return trap

    def disarm(self) -> None:
        with self._lock:
            self._trap = None

    def cut(self) -> None:
        """Break every connection there is."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

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
            try:
                if self.refusing:
                    raise ConnectionRefusedError
                link = _Link(self, client, socket.create_connection(self.upstream))
            except OSError:  # nobody there: the client finds the same
                client.close()
                continue
            with self._lock:
                self._links.add(link)
            link.start()

    def caught(self, request: bytes) -> Trap | None:
        """The trap that waited for this request, if one did; it catches nothing else."""
        with self._lock:
            trap = self._trap
            if trap is None or trap.marker not in request:
                return None
            self._trap = None
            return trap

    def forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)


class _Link:
    """One client connection and its upstream twin."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._doom: Trap | None = None

    def start(self) -> None:
        for pump in (self._requests, self._answers):
            threading.Thread(target=pump, daemon=True).start()

    def _requests(self) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while piece := self._client.recv(65536):
                time.sleep(self._proxy.delay_s)
                left = None if self._proxy.cut_after is None else self._proxy.cut_after - sent
                if left is not None and len(piece) > left:
                    self._server.sendall(piece[:left])
                    self._proxy.cut_after = None
                    self._proxy.cuts += 1
                    break
                sent += len(piece)
                trap = self._proxy.caught(piece)
                if trap is not None and trap.moment is Moment.BEFORE:
                    self._spring(trap)
                    break
                self._doom = trap or self._doom
                self._server.sendall(piece)
        self.cut()

    def _answers(self) -> None:
        came = 0
        with contextlib.suppress(OSError):
            while piece := self._server.recv(65536):
                most = self._proxy.cut_answer_after
                if most is not None and came + len(piece) > most:
                    self._client.sendall(piece[: most - came])
                    self._proxy.cut_answer_after = None
                    self._proxy.cuts += 1
                    break
                came += len(piece)
                if self._doom is not None:
                    self._proxy.lost += 1
                    self._spring(self._doom)
                    break
                self._client.sendall(piece)
        self.cut()

    def _spring(self, trap: Trap) -> None:
        try:
            trap.spring()
        finally:
            trap.sprung.set()

    def cut(self) -> None:
        self._proxy.forget(self)
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
