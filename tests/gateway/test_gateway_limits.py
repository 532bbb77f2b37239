"""Too much, too slow, too many: refused early, and the process goes on serving."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from rig.processes import wait_until
from starlette.requests import Request

from service.api.body import read_body


def head(framing: str, content_type: str = "application/json") -> bytes:
    """The head of a POST /videos; `framing` says how its body is delimited."""
    lines = ("POST /videos HTTP/1.1", "Host: x", f"Content-Type: {content_type}", framing)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def raw(site: Any, request: bytes, wait_s: float = 30.0) -> bytes:
    """What the gateway answers to these bytes on a bare socket."""
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname, address.port), timeout=wait_s) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer and b"}" in answer:
                break
        return answer


def in_progress(site: Any) -> int:
    """Requests in progress beside the one that asks (which no limit holds up)."""
    page = site.client.get("/metrics").text
    return int(float(page.split("\nmicrocinema_http_requests_in_progress ")[1].split("\n")[0])) - 1


def test_a_body_that_is_announced_too_large_is_refused_unread(site: Any) -> None:
    answer = raw(site, head("Content-Length: 99999999999"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer


@pytest.mark.parametrize("lie", ["", "\r\nContent-Length: 0"])
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=B"])
def test_a_body_that_grows_too_large_is_refused_while_it_comes(
    start_gateway: Any, content_type: str, lie: str
) -> None:
    site = start_gateway(max_upload_bytes=50_000)
    part = b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"a" * 60_000
    begun = head(f"Transfer-Encoding: chunked{lie}", content_type)
    answer = raw(site, begun + f"{len(part):x}\r\n".encode() + part + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 50000 bytes" in answer


def test_json_has_a_limit_of_its_own_that_is_named_with_the_size(site: Any) -> None:
    prompt = '{"prompt": "' + "a" * 15_000_000 + '"}'
    answer = site.client.post("/videos", content=prompt, headers={"content-type": "Application/JSON; a=b"})
    said = site.problem(413, answer)["detail"]
    assert said == f"the JSON body must be at most {1024**2} bytes, got {len(prompt)}"


def test_the_text_of_a_form_is_limited_without_its_picture(start_gateway: Any, site: Any, png: Any) -> None:
    small = start_gateway(max_text_bytes=2000)
    picture = png(64, 64) + b"\0" * 5000  # a tail that no reader of PNG minds
    for letters, status in ((1500, 422), (2500, 413)):  # the model's own bound on prompts is 200
        form = {"prompt": "a" * letters, "seed": "7"}
        answer = small.client.post("/videos", data=form, files={"input_reference": ("a.png", picture)})
        problem = site.problem(status, answer)
    assert problem["detail"] == "the text of the form must be at most 2000 bytes, got 2501"


async def test_long_json_is_read_while_others_are_served() -> None:
    """Reading on the loop would end without a single turn for anyone else."""
    turns = 0

    async def other_client() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"prompt": "' + b"a" * 500_000 + b'"}'}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    other = asyncio.create_task(other_client())
    body = await read_body(Request(scope, receive), max_text_bytes=2**20)
    other.cancel()
    assert len(str(body.given["prompt"])) == 500_000
    assert turns > 0


def test_a_picture_below_the_limit_passes(start_gateway: Any, site: Any, png: Any) -> None:
    picture = png(300, 300)
    small = start_gateway(max_upload_bytes=len(picture) + 2000)
    files = {"input_reference": ("a.png", picture)}
    answer = small.client.post("/videos", data={"prompt": "x", "fit": "cover"}, files=files)
    assert answer.status_code == 202, answer.text


def test_a_body_that_never_ends_is_408(start_gateway: Any) -> None:
    site = start_gateway(upload_timeout_s=0.3)
    began = time.monotonic()
    answer = raw(site, head("Content-Length: 100") + b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 20


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(site: Any) -> None:
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head("Content-Length: 100") + b'{"prompt": "x"')
    gone = 'microcinema_http_requests_total{method="POST",route="/videos",status="499"} 1.0'
    wait_until(lambda: gone in site.client.get("/metrics").text, 20, "the end of the connection is seen")
    assert site.client.get("/videos").json()["data"] == []
    wait_until(lambda: in_progress(site) == 0, 20, "nobody waits for the rest")


def test_one_request_too_many_is_503_and_probes_still_answer(start_gateway: Any) -> None:
    site = start_gateway(max_concurrent_requests=1, upload_timeout_s=60, upload_grace_s=60)
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname, address.port)) as slow:
        slow.sendall(head("Content-Length: 10"))
        wait_until(lambda: in_progress(site) == 1, 10, "the one place is taken")
        busy = site.client.get("/videos")
        assert site.problem(503, busy)["code"] == "service_busy"
        assert busy.headers["retry-after"] == "1"
        for probe in ("/livez", "/readyz", "/metrics"):
            assert site.client.get(probe).status_code == 200
    wait_until(lambda: in_progress(site) == 0, 20, "the place is free again")
    assert site.client.get("/videos").status_code == 200


def test_bodies_that_trickle_in_keep_nobody_from_reading(site: Any, start_gateway: Any) -> None:
    small = start_gateway(max_concurrent_requests=8, upload_timeout_s=60, upload_grace_s=60)
    with ExitStack() as slow:
        for count in range(1, 5):
            one = slow.enter_context(
                socket.create_connection((urlsplit(small.url).hostname, urlsplit(small.url).port))
            )
            one.sendall(head("Transfer-Encoding: chunked" if count % 2 else "Content-Length: 10") + b"1")
            wait_until(lambda count=count: in_progress(small) == count, 10, "its body is waited for")
        video_id = site.create()["id"]
        refused = raw(small, head("Content-Length: 10"))  # the head alone: its body is on its way, too
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
        assert b"4 request bodies are on their way" in refused
        # A body that came with its head waits for nobody, and nobody for it.
        assert raw(small, head("Content-Length: 14") + b'{"prompt":"x"}').startswith(b"HTTP/1.1 202 ")
        assert small.client.get(f"/videos/{video_id}").status_code == 200
        assert small.client.post(f"/videos/{video_id}/cancel").status_code == 200
        assert small.client.delete(f"/videos/{video_id}").status_code == 200
    wait_until(lambda: in_progress(small) == 0, 20, "their places are free again")
    assert small.client.post("/videos", json={"prompt": "x"}).status_code == 202


def test_clients_that_never_stop_trickling_lose_their_places_soon(start_gateway: Any) -> None:
    """Each sends a byte every now and then, and would be complete in time by nobody's measure."""
    small = start_gateway(max_concurrent_requests=8, upload_timeout_s=600, upload_grace_s=0.5)
    address = urlsplit(small.url)
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=30))
            for _ in range(4)
        ]
        for one in slow:
            one.sendall(head("Content-Length: 1000000"))
        refused = 'microcinema_http_requests_total{method="POST",route="/videos",status="408"} 4.0'

        def trickle() -> bool:
            for one in slow:
                with suppress(OSError):  # it was cut off while the byte was on its way
                    one.sendall(b"1")
            return refused in small.client.get("/metrics").text

        wait_until(trickle, 60, "all four are refused")
    wait_until(lambda: in_progress(small) == 0, 20, "their places are free again")
    assert small.client.post("/videos", json={"prompt": "x"}).status_code == 202


def test_bytes_that_came_early_buy_time_for_a_pause(start_gateway: Any, png: Any) -> None:
    """A phone in a tunnel: half of an upload, nothing for longer than the grace, the other half."""
    site = start_gateway(upload_timeout_s=600, upload_grace_s=0.2, upload_least_rate=100)
    request = httpx.Request(
        "POST",
        "http://x/videos",
        data={"prompt": "x", "fit": "cover"},
        files={"input_reference": ("a.png", png(300, 300) + bytes(20_000), "image/png")},
    )
    body = request.read()
    framing = f"Content-Length: {len(body)}"
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head(framing, request.headers["content-type"]) + body[:10_000])
        wait_until(lambda: in_progress(site) == 1, 10, "its body is waited for")
        time.sleep(1.0)  # more than the grace; 10,000 bytes have bought a hundred seconds
        connection.sendall(body[10_000:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")


def test_many_at_once_are_all_answered(site: Any) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=site.url, trust_env=False, timeout=20) as client:
            statuses.extend(client.get("/videos").status_code for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 50
