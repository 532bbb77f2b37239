"""Supervisors as processes of their own: they take signals over and take orphans in."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rig.crew import as_argument
from rig.processes import ROOT, Running, python_module, wait_until

from service.supervision.supervisor import RestartPolicy


@dataclass
class RunningCrew:
    """A supervisor under test and what it wrote."""

    process: Running

    def log(self) -> str:
        return self.process.output()

    def sees(self, words: str, times: int = 1) -> None:
        self.until(lambda: self.log().count(words) >= times, f"{words!r} in\n{self.log()}")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, 60, what)

    def terminate(self) -> None:
        self.process.terminate()

    def code(self) -> int:
        return self.process.wait(60)

    def children(self) -> list[str]:
        """The state of each child as the kernel has it: "S" sleeps, "R" runs, "Z" is a zombie."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            except OSError:
                continue
            if int(parent) == self.process.pid:
                found.append(state)
        return found


@pytest.fixture
def run_crew(tmp_path: Path) -> Callable[..., Any]:
    """`run_crew({name: code}, policy, **fields of each Child)`: a supervisor of these, inside the block."""

    @contextmanager
    def run(codes: dict[str, str], policy: RestartPolicy, **options: Any) -> Iterator[RunningCrew]:
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        process = python_module("rig.crew", {"PYTHONPATH": path}, tmp_path, "crew")
        process.argv.append(as_argument(codes, policy, options))
        process.start()
        try:
            yield RunningCrew(process)
        finally:
            process.end()

    return run


@pytest.fixture
def answering() -> Iterator[Callable[[int | None], str]]:
    """`answering(503)`: the address of a server that gives this answer; None: one that speaks no HTTP."""
    servers: list[ThreadingHTTPServer] = []
    sockets: list[socket.socket] = []

    def answer(status: int | None) -> str:
        if status is None:
            mute = socket.create_server(("127.0.0.1", 0))
            sockets.append(mute)
            threading.Thread(target=_mumble, args=(mute,), daemon=True).start()
            return f"http://127.0.0.1:{mute.getsockname()[1]}"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield answer
    for server in servers:
        server.shutdown()
        server.server_close()
    for mute in sockets:
        mute.close()


def _mumble(mute: socket.socket) -> None:
    connection, _ = mute.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"what?\r\n")
