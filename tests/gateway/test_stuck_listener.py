"""A client that opens a stream of events and never reads of it: it is cut, and nobody else feels it."""

import socket
import time
from typing import Any
from urllib.parse import urlsplit

from service.contracts.lifecycle import Stage
from service.contracts.preview import Preview, Shows
from service.store.nouns import Note

PICTURE = "A" * 64 * 1024


def test_a_listener_that_never_reads_is_cut_and_others_hear_on(
    empty_record: None, start_gateway: Any
) -> None:
    site = start_gateway(send_timeout_s=3.0)
    site.worker.announce()
    video, claim = site.create()["id"], site.worker.claim()
    address = urlsplit(site.url)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((address.hostname, address.port))
        stuck.sendall(f"GET /videos/{video}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        listeners, slowest, step, began = site.parts.broadcast, 0.0, 0, time.monotonic()
        while listeners.listeners == 0:
            assert time.monotonic() - began < 20
            time.sleep(0.01)
        # Much more than the system itself holds for a connection, some megabytes on loopback.
        while listeners.listeners == 1 and time.monotonic() - began < 60:
            step += 1
            shown = Preview(
                shows=Shows.VIDEO, step=step, steps=9999, width=64, height=48, frames=4, picture=PICTURE
            )
            assert site.jobs.preview(video, claim.attempt, step, shown)
            assert site.jobs.note(video, claim.attempt, Note(Stage.IMAGE_TO_VIDEO, step, 9999, 1))
            looked = time.monotonic()
            assert site.client.get(f"/videos/{video}").json()["step"] == step
            slowest = max(slowest, time.monotonic() - looked)
        assert listeners.listeners == 0, "it is cut"
        assert slowest < 2.5, "nobody who looks waits for it"
    with site.client.stream("GET", f"/videos/{video}/events") as answer:
        assert next(answer.iter_lines()).startswith("retry: ")
