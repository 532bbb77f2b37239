"""One try against a real receiver: every kind of answer, and every kind of silence."""

import socket
import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest

from service.contracts.event import Event
from service.notifier.post import Poster
from service.ssrf import Guard, pinned_client
from service.store.deliveries import Delivery

EVENT = Event(
    id="evt_video_1_3",
    seq=3,
    type="video.completed",
    job_id="video_1",
    tenant="default",
    created_at=1_800_000_000.25,
    data={"id": "video_1", "status": "completed"},
)


def to(url: str) -> Delivery:
    return Delivery(EVENT, url, "endpoint", 1)


@pytest.fixture
async def poster(signer):
    client = pinned_client(Guard(allow_private=True), connect_timeout_s=1, timeout_s=1)
    poster = Poster(client, signer, timeout_s=1.0)
    yield poster
    await poster.aclose()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered_and_verifies(poster, inbox, Reply, verify, status) -> None:
    inbox.replies = [Reply(status)]
    answer = await poster.post(to(inbox.url))
    assert (answer.status, answer.delivered, answer.gone) == (status, True, False)
    (letter,) = inbox.letters
    assert verify(letter)["data"] == {"id": "video_1", "status": "completed"}
    assert letter.id == EVENT.id
    assert letter.headers["content-type"] == "application/json"
    assert letter.headers["host"] == inbox.url.split("/")[2]


async def test_410_is_gone(poster, inbox, Reply) -> None:
    inbox.replies = [Reply(410)]
    answer = await poster.post(to(inbox.url))
    assert (answer.delivered, answer.gone, answer.hopeless) == (False, True, False)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_never_followed(poster, inbox, Reply, status) -> None:
    inbox.replies = [Reply(status, {"location": inbox.url + "/elsewhere"})]
    answer = await poster.post(to(inbox.url))
    assert (answer.status, answer.delivered, answer.gone) == (status, False, False)
    assert [letter.path for letter in inbox.letters] == ["/hook"]


async def test_what_a_receiver_says_is_cut_cleaned_and_free_of_our_signature(poster, inbox, Reply) -> None:
    inbox.replies = [Reply(500, body=b"<h1>Oh\x00 no\x1b[31m</h1>\r\n" + b"z" * 100_000)]
    answer = await poster.post(to(inbox.url))
    assert answer.reason.startswith("HTTP 500: <h1>Oh no [31m</h1> zzz")
    assert len(answer.reason) <= 210
    assert answer.reason.isprintable()

    def echo_signature(letter) -> None:
        inbox.replies = [Reply(400, body=b"bad signature " + letter.headers["webhook-signature"].encode())]

    inbox.on_letter = echo_signature
    await poster.post(to(inbox.url))
    inbox.on_letter = lambda _: None
    then = float(inbox.letters[-1].headers["webhook-timestamp"])
    frozen = Poster(poster.client, poster.signer, clock=lambda: then)
    answer = await frozen.post(to(inbox.url))
    assert answer.reason == "HTTP 400: bad signature [signature]"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("17", 17), ("0", 0), ("999999999999", 86400), ("-5", 0), ("soon", 0), ("", 0), ("1.5", 0), ("١٢", 0)],
)
async def test_retry_after_in_seconds(poster, inbox, Reply, text, seconds) -> None:
    inbox.replies = [Reply(503, {"retry-after": text.encode().decode("latin-1")})]
    assert (await poster.post(to(inbox.url))).retry_after_s == seconds


@pytest.mark.parametrize(("away_s", "seconds"), [(90, 90), (-90, 0), (10 * 86400, 86400)])
async def test_retry_after_as_a_date(poster, inbox, Reply, signer, away_s, seconds) -> None:
    now = 1_800_000_000.0
    date = format_datetime(datetime.fromtimestamp(now + away_s, UTC), usegmt=True)
    inbox.replies = [Reply(429, {"retry-after": date})]
    answer = await Poster(poster.client, signer, clock=lambda: now).post(to(inbox.url))
    assert answer.retry_after_s == seconds


async def test_a_receiver_that_is_down_is_a_sentence(poster) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = await poster.post(to(f"http://127.0.0.1:{unused.getsockname()[1]}/"))
    assert (answer.status, answer.hopeless) == (None, False)
    assert answer.reason.startswith("ConnectError")


async def test_a_receiver_that_hangs_up_is_a_sentence(poster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def accept_and_close() -> None:
            rude.accept()[0].close()

        hang_up = threading.Thread(target=accept_and_close)
        hang_up.start()
        answer = await poster.post(to(f"http://127.0.0.1:{rude.getsockname()[1]}/"))
        hang_up.join()
    assert answer.status is None
    assert not answer.hopeless


@pytest.mark.parametrize("drips", [False, True])
async def test_the_time_limit_is_on_the_whole_try(poster, inbox, Reply, drips) -> None:
    """A drip of bytes passes every limit on the single read; the sum still ends."""
    never = threading.Event()
    inbox.replies = [Reply(500, body=b"x" * 900, drip_s=0.1) if drips else Reply(after=never)]
    started = time.monotonic()
    answer = await poster.post(to(inbox.url))
    assert time.monotonic() - started < 30  # and not the 60 or 90 that the receiver takes
    never.set()
    assert answer.status is None
    assert "no answer within 1 s" in answer.reason or "ReadTimeout" in answer.reason


async def test_a_private_address_is_refused_for_good_and_hears_nothing(inbox, signer) -> None:
    guarded = Poster(pinned_client(Guard(), connect_timeout_s=1, timeout_s=1), signer)
    for name in ("127.0.0.1", "localhost", "127.1", "2130706433"):
        answer = await guarded.post(to(inbox.url.replace("127.0.0.1", name)))
        assert answer.hopeless
        assert "not a public address" in answer.reason
    await guarded.aclose()
    assert inbox.letters == []


@pytest.mark.parametrize(
    "url",
    [
        "http://exa mple.com:port/",
        "http://[::1",
        "http://",
        "nonsense",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
    ],
)
async def test_a_url_that_cannot_be_read_is_hopeless(poster, url) -> None:
    assert (await poster.post(to(url))).hopeless


async def test_receivers_leave_no_cookies_and_see_none(poster, inbox, Reply) -> None:
    inbox.replies = [Reply(200, {"set-cookie": "follow=me; Path=/"})]
    await poster.post(to(inbox.url))
    await poster.post(to(inbox.url))
    assert "cookie" not in inbox.letters[1].headers
    assert len(poster.client.cookies.jar) == 0


def test_the_client_reads_no_proxy_settings(monkeypatch) -> None:
    """Through a proxy the judged address would not be the one that is connected to."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    client = pinned_client(Guard(), connect_timeout_s=1, timeout_s=1)
    assert isinstance(client, httpx.AsyncClient)
    assert not client.trust_env
    assert client.follow_redirects is False


async def test_a_host_that_is_no_punycode_is_hopeless(poster) -> None:
    answer = await poster.post(to("http://xn--a/"))
    assert answer.hopeless
    assert "URL cannot be read" in answer.reason
