"""Whoever is told of a video may take as long as he likes: nothing that is rendered waits for him."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rig.processes import wait_until

VIDEOS = 6


class Silent:
    """Takes every letter and answers none before `released` is set."""

    def __init__(self) -> None:
        self.heard: list[str] = []  # ids of letters, by try
        self.answered: list[str] = []
        self.released = threading.Event()
        silent = self

        class Page(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                silent.heard.append(self.headers["webhook-id"])
                silent.released.wait(300)
                try:
                    self.send_response(204)
                    self.end_headers()
                    silent.answered.append(self.headers["webhook-id"])
                except ConnectionError:  # the sender gave up long ago
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def end(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def silent() -> Iterator[Silent]:
    receiver = Silent()
    yield receiver
    receiver.end()


@pytest.mark.timeout(240)
def test_every_video_is_made_before_the_first_webhook_is_answered(
    start_service: Callable[..., Any], silent: Silent
) -> None:
    """By order and not by the clock: a render that waited for an answer would never end here."""
    service = start_service(MICROCINEMA_WEBHOOK_TIMEOUT_S="120")
    service.worker()
    with service.client() as client:
        answer = client.post("/webhook_endpoints", json={"url": silent.url})
        assert answer.status_code == 201, answer.text
    ids = [service.create(webhook_url=silent.url)["id"] for _ in range(VIDEOS)]
    for video_id in ids:
        assert service.wait_for(video_id, "succeeded", "failed", seconds=60)["state"] == "succeeded"
    assert silent.answered == []
    wait_until(lambda: len(silent.heard) >= 2, 60, "they are told of it all the while")
    silent.released.set()
    expected = VIDEOS * 2 * 2  # started and completed, to the job's own URL and to the endpoint
    wait_until(lambda: len(set(silent.answered)) == expected, 120, "each is told in the end")
