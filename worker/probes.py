"""/livez, /readyz and /metrics of one worker, on one small port of its own.

Live: the loop turns or a job moves on; an orchestrator restarts what is not live, so Redis being away is no
reason. Ready: warmed up, on the list of live workers, with room in the spool, and not on its way out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

Checks = Callable[[], Mapping[str, bool]]
"""The parts of an answer, by name; the answer is 200 if all of them hold, else 503."""


class CannotListen(Exception):
    """The address for the probes is taken, not this host's, or none; the sentence names the variables."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A probe every few seconds is not worth a line."""


class Probes:
    """An HTTP server in a thread. `port` 0 takes a free one; `address` says which. Raises CannotListen."""

    def __init__(
        self, host: str, port: int, *, live: Checks, ready: Checks, registry: CollectorRegistry
    ) -> None:
        self._checks: dict[str, Checks] = {"/livez": live, "/readyz": ready}
        self._metrics = make_wsgi_app(registry)
        try:
            self._server = make_server(host, port, self._answer, _Server, _Silent)
        except (OSError, UnicodeError, TypeError) as problem:  # TypeError: a name that no encoding takes
            raise CannotListen(
                f"probes cannot be served on MICROCINEMA_PROBE_HOST={host!r}, MICROCINEMA_PROBE_PORT={port}: "
                f"{getattr(problem, 'strerror', None) or problem}"
            ) from problem
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="probes", daemon=True
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path not in self._checks:
            return _json(start_response, "404 Not Found", {"error": f"no such probe: {path}"})
        parts = dict(self._checks[path]())
        status = "200 OK" if all(parts.values()) else "503 Service Unavailable"
        return _json(start_response, status, parts)


def _json(start_response: StartResponse, status: str, facts: Mapping[str, object]) -> list[bytes]:
    body = json.dumps(facts).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
