"""A real Valkey, a receiver on a real socket that answers as told, and events from real jobs."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from redis import Redis
from rig.server_clock import ServerClock
from rig.time_ahead import TimeAhead
from rig.valkey import running_valkey
from standardwebhooks import Webhook

from service.contracts.request import VideoRequest
from service.notifier.signing import Signer
from service.store.connections import connect_sync
from service.store.deliveries import DeliveryStore
from service.store.nouns import Submission
from service.store.script import Store
from service.store.store import JobStore

SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="


@dataclass(frozen=True)
class Reply:
    """What the receiver answers, once `after` is set; `drip_s` passes between the bytes of the body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: threading.Event | None = None
    drip_s: float = 0.0


@dataclass(frozen=True)
class Letter:
    """One webhook as it arrived; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Inbox:
    """A webhook receiver: `replies` are given in turn, the last for ever; `on_letter` runs before each."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [Reply()]
        self.letters: list[Letter] = []
        self.on_letter: Callable[[Letter], None] = lambda _: None
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        inbox = self

        class Page(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): text for name, text in self.headers.items()}
                inbox.take(self, Letter(self.path, headers, body, time.monotonic()))

            def do_GET(self) -> None:
                """A followed redirect may come as GET; it must not go unseen."""
                self.do_POST()

            def log_message(self, *_: object) -> None:
                """Quiet: what matters is in `letters`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def take(self, page: BaseHTTPRequestHandler, letter: Letter) -> None:
        with self._lock:
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.on_letter(letter)
        with self._arrived:
            self.letters.append(letter)
            self._arrived.notify_all()
        if reply.after is not None:
            reply.after.wait(60)
        try:
            page.send_response(reply.status)
            for name, text in ({"content-length": str(len(reply.body))} | reply.headers).items():
                page.send_header(name, text)
            page.end_headers()
            for start in range(0, len(reply.body), 1 if reply.drip_s else max(1, len(reply.body))):
                page.wfile.write(reply.body[start : start + 1] if reply.drip_s else reply.body)
                time.sleep(reply.drip_s)
        except ConnectionError:
            page.close_connection = True  # the sender has hung up, as it may

    def wait_for(self, count: int, seconds: float = 60.0) -> list[Letter]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.letters) >= count, seconds), (
                f"{len(self.letters)} of {count} letters came within {seconds} s"
            )
            return list(self.letters)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


@pytest.fixture(name="new_inbox")
def new_inbox_fixture() -> Iterator[Callable[[], Inbox]]:
    opened: list[Inbox] = []

    def open_one() -> Inbox:
        opened.append(Inbox())
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture(name="Reply")
def reply_class() -> type[Reply]:
    return Reply


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def signer() -> Signer:
    return Signer((SECRET,))


@pytest.fixture
def verify() -> Callable[[Letter], dict[str, object]]:
    """The third party's judgement of a letter: its body, or WebhookVerificationError."""

    def verified(letter: Letter) -> dict[str, object]:
        body: dict[str, object] = Webhook(SECRET).verify(letter.body, letter.headers)
        return body

    return verified


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect_sync(redis_url, timeout_s=20)  # a busy machine is not what is tested
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(Store(redis))


@pytest.fixture
def deliveries(redis: Redis) -> DeliveryStore:
    return DeliveryStore(Store(redis))


@pytest.fixture
def server_clock(redis: Redis) -> ServerClock:
    return ServerClock(redis)


@pytest.fixture
def clock() -> TimeAhead:
    """The host's time of day, which a test may move on."""
    return TimeAhead()


@pytest.fixture
def timed(redis: Redis, server_clock: ServerClock) -> DeliveryStore:
    """The deliveries under a clock that only the test moves."""
    return DeliveryStore(Store(redis, ServerClock.library))


def submission(
    url: str | None,
    job_id: str = "",
    tenant: str = "default",
    retention_s: float = 3600.0,
    webhook_events: tuple[str, ...] = (),
) -> Submission:
    request = VideoRequest(
        prompt="a red circle moves left",
        model="micro",
        width=64,
        height=64,
        num_frames=16,
        fps=8,
        seed=7,
        num_inference_steps=4,
        guidance_scale=5.0,
        gamma=0.02,
        sampler="ddim",
        webhook_url=url,
        webhook_events=webhook_events,
    )
    return Submission(
        job_id=job_id or f"video_{secrets.token_hex(8)}",
        tenant=tenant,
        request=request,
        pool="default",
        compat="same",
        digest="d" * 64,
        queue_limit=1000,
        retention_s=retention_s,
    )


@pytest.fixture
def new_submission() -> Callable[..., Submission]:
    return submission


@pytest.fixture
def submit(jobs: JobStore) -> Callable[..., str]:
    """Accepts a job that waits; answers its id."""

    def accepted(url: str | None = None, **fields: object) -> str:
        return jobs.submit(submission(url, **fields)).job_id  # type: ignore[arg-type]

    return accepted


@pytest.fixture
def happen(jobs: JobStore, submit: Callable[..., str]) -> Callable[[str], str]:
    """Lets exactly one event worth a webhook happen: a waiting job is cancelled. Answers the event's id."""

    def happened(url: str) -> str:
        job_id = submit(url)
        jobs.cancel("default", job_id)
        return jobs.events("default", job_id)[-1].id

    return happened
