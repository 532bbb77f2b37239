"""As much of the Hugging Face hub's HTTP interface as one model needs, on a free port."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


@dataclass
class RunningHub:
    """`files` of the one repository; `asked` grows with the names of those that were asked for."""

    repo: str
    files: dict[str, bytes]
    endpoint: str = ""
    commit: str = COMMIT  # as the hub names it
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """Body and headers, or None where the hub would say 404."""
        model = f"/api/models/{self.repo}"
        file = f"/{self.repo}/resolve/{COMMIT}/"
        if path in (model, f"{model}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            return _json({"id": self.repo, "sha": self.commit, "siblings": siblings})
        if path == f"{model}/tree/{COMMIT}":
            return _json(
                [
                    {"type": "file", "path": name, "size": len(body), "oid": _oid(body)}
                    for name, body in self.files.items()
                ]
            )
        if path.startswith(file) and path.removeprefix(file) in self.files:
            name = path.removeprefix(file)
            self.asked.append(name)
            return self.files[name], {"ETag": f'"{_oid(self.files[name])}"'}
        return None


@contextmanager
def running_hub(repo: str, files: dict[str, bytes]) -> Iterator[RunningHub]:
    """A hub with one repository, for as long as the block lasts."""
    hub = RunningHub(repo, files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(self._head())

        def do_HEAD(self) -> None:
            self._head()

        def _head(self) -> bytes:
            found = hub.answer(self.path.partition("?")[0])
            body, headers = found or (b"", {"X-Error-Code": "RepoNotFound"})
            self.send_response(200 if found else 404)
            for key, value in {"X-Repo-Commit": COMMIT, **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _json(content: object) -> tuple[bytes, dict[str, str]]:
    return json.dumps(content).encode(), {"Content-Type": "application/json"}


def _oid(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()
