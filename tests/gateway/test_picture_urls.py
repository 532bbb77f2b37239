"""`input_reference` by URL: fetched before the 202, within bounds that a hostile host cannot move."""

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from rig.picture_host import PictureHost, gives, picture_host
from rig.processes import wait_until

Png = Callable[..., bytes]


@pytest.fixture
def host() -> Iterator[PictureHost]:
    with picture_host() as host:
        yield host


@pytest.fixture
def fetching(empty_record: None, start_gateway: Any, host: PictureHost) -> Any:
    """A gateway that may call `host`, though it is on loopback."""
    site = start_gateway(picture_origins=host.url, picture_fetch_timeout_s=2, max_upload_bytes=100_000)
    site.worker.announce()
    return site


def ask(site: Any, reference: object, **fields: Any) -> httpx.Response:
    body = json.dumps({"prompt": "a circle", "input_reference": reference, **fields})
    answer: httpx.Response = site.client.post(
        "/videos", content=body, headers={"content-type": "application/json"}
    )
    return answer


def fault(site: Any, answer: httpx.Response) -> str:
    (found,) = site.problem(422, answer)["errors"]
    assert found["field"] == "input_reference"
    return str(found["message"])


def stored(site: Any, answer: httpx.Response) -> bytes:
    assert answer.status_code == 202, answer.text
    own = site.jobs.get("default", answer.json()["id"]).request.input_picture
    return b"".join(site.artifacts.read(own.key, 0, None))


def test_each_way_to_say_it_makes_the_same_picture(fetching: Any, host: PictureHost, png: Png) -> None:
    """And by 202 it is stored: the foreign host may forget it."""
    host.paths["/a.png"] = gives(png(), content_type="text/html")  # the bytes count, not what they are called
    url = f"{host.url}/a.png"
    as_data = "data:image/png;base64," + base64.b64encode(png()).decode()
    form = {"prompt": (None, "a circle")}
    answers = [
        ask(fetching, {"image_url": url}),
        ask(fetching, {"image_url": url, "file_id": None}),
        ask(fetching, url),
        ask(fetching, {"image_url": as_data}),
        fetching.client.post("/videos", files={**form, "input_reference[image_url]": (None, url)}),
        fetching.client.post("/videos", files={**form, "input_reference": (None, url)}),
        fetching.client.post(
            "/videos", files={**form, "input_reference": (None, json.dumps({"image_url": url}))}
        ),
        fetching.client.post("/videos", files={**form, "input_reference": ("a.png", png(), "image/png")}),
    ]
    pictures = [stored(fetching, answer) for answer in answers]
    assert len(set(pictures)) == 1
    assert pictures[0].startswith(b"\x89PNG")
    assert {seen["accept-encoding"] for seen in host.seen} == {"identity"}
    assert not [seen for seen in host.seen if "authorization" in seen or "cookie" in seen]


@pytest.mark.parametrize(
    "reference",
    [
        7,
        [],
        {},
        "",
        "picture.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        {"image_url": 7},
        {"image_url": {"url": "https://example.com/a.png"}},
        {"file_id": "file-123"},
        {"image_url": "https://example.com/a.png", "file_id": "file-123"},
        {"image_url": "https://example.com/" + "a" * 3000},
        {"image_url": "data:image/png;base64,****"},
        {"image_url": "data:image/svg+xml;base64,AAAA"},
        '{"image_url": ',
        "https://\ud800.example/",
    ],
)
def test_what_is_no_reference_says_what_one_is(site: Any, reference: object) -> None:
    said = fault(site, ask(site, reference))
    assert "base64" in said or "image_url" in said or "URL" in said


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://134744072/",  # 8.8.8.8, but nobody writes it so who means well
        "https://user@example.com/a.png",
        "https://user:password@example.com/a.png",
        "http://example.com/a.png",
        "https://example.com:8443/a.png",
        "https://example.com:0/a.png",
        "https:///a.png",
        "https://exa mple.com/",
        "https://xn--\u00e9/",
    ],
)
def test_no_url_leads_to_what_only_we_can_reach(site: Any, url: str) -> None:
    assert fault(site, ask(site, {"image_url": url}))


def test_a_refused_address_says_nothing_of_the_network_inside(site: Any) -> None:
    inside = fault(site, ask(site, "https://localhost/a.png")).replace("localhost", "HOST")
    unknown = fault(site, ask(site, "https://no-such-name.invalid/a.png"))
    assert unknown.replace("no-such-name.invalid", "HOST") == inside
    assert "127.0.0.1" not in inside


def test_another_port_of_a_trusted_host_is_not_trusted(fetching: Any, host: PictureHost) -> None:
    assert "https" in fault(fetching, ask(fetching, host.url.rsplit(":", 1)[0] + ":1/a.png"))
    assert "user name" in fault(fetching, ask(fetching, host.url.replace("//", "//u:p@") + "/a.png"))


def drip(handler: BaseHTTPRequestHandler) -> None:
    """One byte now and then, for as long as anybody reads."""
    gone = threading.Event()
    handler.send_response(200)
    handler.send_header("content-length", "1000000")
    handler.end_headers()
    handler.wfile.write(b"\x89PNG\r\n\x1a\n")
    while not gone.wait(0.1):
        handler.wfile.write(b"x")


def silence(_: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(6)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """No length, and more and more of what begins as a picture does."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"\x89PNG\r\n\x1a\n")
    while True:
        handler.wfile.write(b"\0" * 65536)


def short(handler: BaseHTTPRequestHandler) -> None:
    """Says 1,000 bytes and hangs up behind a few."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b"\x89PNG\r\n\x1a\nabcdefgh")


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (drip, "within 2 s"),
        (silence, "within 2 s"),
        (endless, "at most 100000 bytes"),
        (short, "RemoteProtocolError"),
        (gives(b"<html>no picture here</html>"), "PNG, JPEG or WebP"),
        (gives(b""), "PNG, JPEG or WebP"),
        (gives(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), "not a PNG, JPEG or WebP picture"),
        (gives(b"", 302, headers={"location": "http://169.254.169.254/"}), "redirects are not followed"),
        (gives(b"", 204), "200"),
        (gives(b"nope", 500), "HTTP 500"),
        (gives(gzip.compress(b"\0" * 1000), headers={"content-encoding": "gzip"}), "Content-Encoding"),
        (gives(b"\x89PNG\r\n\x1a\n", headers={"content-encoding": "br"}), "Content-Encoding"),
    ],
)
def test_a_hostile_host_is_a_422_that_names_the_reason(
    fetching: Any, host: PictureHost, behaviour: Any, says: str
) -> None:
    host.paths["/x"] = behaviour
    assert says in fault(fetching, ask(fetching, f"{host.url}/x"))


def test_the_other_faults_come_before_any_fetch(fetching: Any, host: PictureHost) -> None:
    answer = ask(fetching, f"{host.url}/a.png", fps=99)
    assert [each["field"] for each in fetching.problem(422, answer)["errors"]] == ["fps"]
    assert host.seen == []


def test_a_repeat_with_its_key_is_answered_without_another_fetch(
    fetching: Any, host: PictureHost, png: Png
) -> None:
    """The URL as written is what makes two requests the same: what lies there may change, or be gone."""
    host.paths["/a.png"] = gives(png())

    def post(url: str) -> httpx.Response:
        body = {"prompt": "a circle", "input_reference": {"image_url": url}}
        answer: httpx.Response = fetching.client.post("/videos", json=body, headers={"idempotency-key": "k"})
        return answer

    first = post(f"{host.url}/a.png")
    del host.paths["/a.png"]
    again, other = post(f"{host.url}/a.png"), post(f"{host.url}/b.png")
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 422)
    assert again.json()["id"] == first.json()["id"]
    assert other.json()["code"] == "idempotency_conflict"
    assert len(host.seen) == 1


def test_a_slow_host_takes_a_quarter_of_the_fetches_and_nothing_else(
    empty_record: None, start_gateway: Any, host: PictureHost, png: Png
) -> None:
    """Of two hosts one never answers: the other one's pictures come through, and all the rest."""
    released = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        released.wait(60)

    with picture_host() as slow:
        slow.paths["/x"] = hang
        host.paths["/a.png"] = gives(png())
        site = start_gateway(
            picture_origins=f"{host.url} {slow.url}", picture_fetches=8, picture_fetch_timeout_s=30
        )
        site.worker.announce()
        with ThreadPoolExecutor(2) as pool:
            stuck = [pool.submit(ask, site, f"{slow.url}/x") for _ in range(2)]
            try:
                wait_until(lambda: len(slow.seen) == 2, 30, "both hang")
                refused = ask(site, f"{slow.url}/x")
                assert site.problem(503, refused)["code"] == "service_busy"
                assert refused.headers["retry-after"]
                assert len(slow.seen) == 2
                assert stored(site, ask(site, f"{host.url}/a.png"))
                assert site.create()["state"] == "queued"
            finally:
                released.set()
            assert {each.result().status_code for each in stuck} == {422}
        assert ask(site, f"{slow.url}/x").status_code == 422  # its place is free again


def test_an_operator_may_have_nothing_fetched(empty_record: None, start_gateway: Any, png: Png) -> None:
    site = start_gateway(picture_fetches=0)
    site.worker.announce()
    assert "fetches none" in fault(site, ask(site, "https://example.com/a.png"))
    as_data = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert stored(site, ask(site, {"image_url": as_data}))
