"""Clients that say nothing, say it slowly or do not listen: none of them is waited for without end."""

import hashlib
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from rig.processes import wait_until

from service.store.nouns import Succeeded

LONG = 12 * 1024**2  # more than the kernel's buffers on both sides take in


@contextmanager
def connected(site: Any, window: int | None = None) -> Iterator[socket.socket]:
    """A bare connection; `window` is how many bytes it is ready to take unread."""
    address = urlsplit(site.url)
    with socket.socket() as connection:
        if window is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.settimeout(30)
        connection.connect((address.hostname, address.port))
        yield connection


def drip(connection: socket.socket, text: bytes, every_s: float = 0.05, within_s: float = 20.0) -> None:
    """Sends byte after byte of `text`, over and over, until the server ends that."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        for byte in text:
            try:
                connection.sendall(bytes([byte]))
            except ConnectionError:
                return
            time.sleep(every_s)
    raise AssertionError(f"still connected after {within_s} s")


def read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65536)
        assert piece, "the connection was closed"
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head


def long_video(site: Any) -> str:
    """The path of a video of LONG bytes."""
    site.create()
    claim = site.worker.claim()
    artifact = site.worker.film(claim).artifact
    body = b"\0" * LONG
    site.artifacts.put(artifact.key, body, "video/mp4")
    described = artifact.model_copy(update={"bytes": LONG, "sha256": hashlib.sha256(body).hexdigest()})
    site.worker.finish(claim, Succeeded(described))
    return f"/videos/{claim.job.id}/content"


def given_up(site: Any) -> dict[str, float]:
    """Connections that were ended for their clients' fault, by reason."""
    page = site.client.get("/metrics").text
    found = re.findall(r'^microcinema_connections_given_up_total\{reason="(\w+)"\} (\S+)$', page, re.M)
    return {reason: float(count) for reason, count in found}


def test_connections_that_are_ended_are_counted_by_their_reason(start_gateway: Any) -> None:
    site = start_gateway(head_timeout_s=0.3)
    assert given_up(site) == {"head_timeout": 0, "send_timeout": 0, "malformed": 0}
    for told, answer in (
        (b"", b""),
        (b"GARBAGE\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, b"HTTP/1.1 400 "),
    ):
        with connected(site) as client, suppress(ConnectionError):
            client.sendall(told)
            assert client.recv(13) == answer
    assert given_up(site) == {"head_timeout": 1, "send_timeout": 0, "malformed": 2}


def test_a_connection_that_never_asks_is_closed(start_gateway: Any) -> None:
    site = start_gateway(head_timeout_s=0.3)
    began = time.monotonic()
    with connected(site) as silent:
        assert silent.recv(1) == b""
    assert 0.2 < time.monotonic() - began < 20


def test_a_head_that_comes_letter_by_letter_is_not_waited_for(start_gateway: Any) -> None:
    site = start_gateway(head_timeout_s=0.4)
    with connected(site) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        drip(slow, b"X-Slow: yes\r\n")


def test_nor_is_the_head_of_a_second_request(start_gateway: Any) -> None:
    site = start_gateway(head_timeout_s=0.4, keep_alive_s=60)
    with connected(site) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(slow).startswith(b"HTTP/1.1 200")
        time.sleep(0.6)  # between two requests it may rest for longer than a head may take
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        drip(slow, b"X-Slow: yes\r\n")


def test_nor_is_the_rest_of_a_body_that_nobody_reads(start_gateway: Any) -> None:
    site = start_gateway(head_timeout_s=0.4)
    with connected(site) as slow:
        slow.sendall(b"POST /videos/no-such/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n")
        assert read_answer(slow).startswith(b"HTTP/1.1 404")
        drip(slow, b"x")


def test_a_body_that_nobody_read_does_not_shorten_the_rest_behind_it(start_gateway: Any) -> None:
    """A load balancer would send its next request down a connection that is just being aborted."""
    site = start_gateway(head_timeout_s=0.4, keep_alive_s=5)
    with connected(site) as resting:
        resting.sendall(b"POST /videos/no-such/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nno")
        assert read_answer(resting).startswith(b"HTTP/1.1 404")
        resting.sendall(b"ne")
        time.sleep(0.8)  # longer than a head may take, not as long as a connection may rest
        resting.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(resting).startswith(b"HTTP/1.1 200")
        resting.sendall(b"POST /videos/no-such/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nno")
        read_answer(resting)
        began = time.monotonic()
        resting.sendall(b"ne")
        assert resting.recv(1) == b""
        assert 4 < time.monotonic() - began < 30


def test_a_resting_connection_is_closed_in_the_end(start_gateway: Any) -> None:
    site = start_gateway(keep_alive_s=1)
    with connected(site) as resting:
        began = time.monotonic()
        resting.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        read_answer(resting)
        assert resting.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 20


def test_a_reader_that_stops_reading_gives_its_place_back(site: Any, start_gateway: Any) -> None:
    path = long_video(site)
    small = start_gateway(max_concurrent_requests=1, send_timeout_s=2.0)
    with connected(small, window=4096) as stuck:
        stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert stuck.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: small.client.get("/videos").status_code == 503, 20, "the one place is taken")
        wait_until(lambda: small.client.get("/videos").status_code == 200, 20, "the place is free again")
        received = 0
        with suppress(ConnectionError):
            while piece := stuck.recv(65536):
                received += len(piece)
        assert received < LONG  # cut: the client cannot take it for the whole file


def test_a_slow_reader_that_goes_on_reading_gets_the_whole_file(site: Any, start_gateway: Any) -> None:
    path = long_video(site)
    patient = start_gateway(send_timeout_s=1.0)
    began = time.monotonic()
    with connected(patient, window=65536) as slow:
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = 0
        while piece := slow.recv(65536):
            received += len(piece)
            time.sleep(0.01)
    assert received > LONG
    assert time.monotonic() - began > 1.0
