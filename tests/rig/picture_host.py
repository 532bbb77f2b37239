"""A host on which pictures lie, or what somebody would like us to take for one."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Answers one GET as it likes.
Behaviour = Callable[[BaseHTTPRequestHandler], None]


def gives(
    body: bytes, status: int = 200, content_type: str = "image/png", headers: Mapping[str, str] | None = None
) -> Behaviour:
    """One plain answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", content_type)
        handler.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class PictureHost:
    """Change `paths` at any time; `seen` are the headers of each GET."""

    url: str
    paths: dict[str, Behaviour] = field(default_factory=dict)
    seen: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def picture_host() -> Iterator[PictureHost]:
    """On a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            with suppress(OSError):  # the gateway hung up, which is what it is asked to do
                host.paths.get(self.path, gives(b"no", 404, "text/plain"))(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Not to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host = PictureHost(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
