"""What S3-compatible servers answer when they are full, or throttle us: later, not never, in a sentence."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from service.storage.artifact_store import StorageUnavailable
from service.storage.s3 import S3Place, S3Store, connect

# MinIO's own answer (cmd/api-errors.go), Ceph's and AWS's.
ANSWERS = {
    "XMinioStorageFull": 507,
    "QuotaExceeded": 403,
    "SlowDown": 503,
}


@pytest.fixture(params=ANSWERS)
def full(request: pytest.FixtureRequest) -> Iterator[tuple[S3Store, str, list[str]]]:
    """A server that is there, answers HEAD on its bucket and refuses every body; and what it was asked."""
    code = str(request.param)
    asked: list[str] = []
    body = f"<Error><Code>{code}</Code><Message>no room</Message></Error>".encode()

    class Server(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"HEAD {self.path}")
            self.send_response(200)
            self.end_headers()

        def do_PUT(self) -> None:
            asked.append(f"PUT {self.path}")
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(ANSWERS[code])
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = S3Place(
        bucket="videos",
        endpoint_url=f"http://127.0.0.1:{server.server_address[1]}",
        access_key_id="a",
        secret_access_key="b",
    )
    yield connect(place, tries=1), code, asked
    server.shutdown()
    server.server_close()


def test_a_full_server_is_there_and_takes_nothing(full: tuple[S3Store, str, list[str]]) -> None:
    store, code, asked = full
    store.check()
    with pytest.raises(
        StorageUnavailable, match=rf"'videos' refused us with {code} \(HTTP {ANSWERS[code]}\)"
    ):
        store.put("default/video_1/1/video.mp4", bytes(1000), "video/mp4")
    # Refused is refused: nothing is looked up, and nothing else is tried.
    assert asked == ["HEAD /videos", "PUT /videos/default/video_1/1/video.mp4"]
