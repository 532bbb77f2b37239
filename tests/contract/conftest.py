"""A real server for the store, a clock that only moves when told, and short ways to make jobs."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
from redis import Redis
from rig.server_clock import ServerClock
from rig.valkey import VOLATILE, running_valkey

from service.contracts.artifact import Artifact
from service.contracts.request import VideoRequest
from service.store.connections import connect_sync
from service.store.nouns import Claim, Submission, SubmitOutcome
from service.store.script import Library, Store
from service.store.store import JobStore


class StartServer(Protocol):
    def __call__(self, folder: Path, *options: str) -> str: ...


@pytest.fixture(scope="session")
def start_server() -> Iterator[StartServer]:
    """Start a real Valkey on a free port; returns its URL. All are ended with the test session."""
    with ExitStack() as running:

        def start(folder: Path, *options: str) -> str:
            return running.enter_context(running_valkey(folder, *VOLATILE, *options))

        yield start


@pytest.fixture(scope="session")
def redis_url(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    return start_server(tmp_path_factory.mktemp("valkey"))


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect_sync(redis_url, timeout_s=20)  # a busy machine is not what is tested
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def clock(redis: Redis) -> ServerClock:
    return ServerClock(redis)


@pytest.fixture(scope="session")
def library() -> Library:
    return ServerClock.library


@pytest.fixture
def jobs(redis: Redis, clock: ServerClock, library: Library) -> JobStore:
    """The real store on the real server, under the test's clock."""
    return JobStore(Store(redis, library))


def make_request(**fields: Any) -> VideoRequest:
    whole: dict[str, Any] = {
        "prompt": "a red circle moves left",
        "model": "micro",
        "width": 64,
        "height": 64,
        "num_frames": 16,
        "fps": 8,
        "seed": 7,
        "num_inference_steps": 4,
        "guidance_scale": 5.0,
        "gamma": 0.02,
        "sampler": "ddim",
        "webhook_url": "https://example.com/hook",
    }
    return VideoRequest(**whole | fields)


def make_submission(job_id: str, tenant: str = "default", **fields: Any) -> Submission:
    names = Submission.__dataclass_fields__
    request = make_request(**{name: value for name, value in fields.items() if name not in names})
    whole: dict[str, Any] = {
        "pool": "default",
        "compat": "same",
        "digest": "d" * 64,
        "queue_limit": 100,
        "retention_s": 3600.0,
    }
    whole |= {name: value for name, value in fields.items() if name in names}
    return Submission(job_id=job_id, tenant=tenant, request=request, **whole)


@pytest.fixture(name="make_submission")
def make_submission_fixture() -> Callable[..., Submission]:
    return make_submission


def make_artifact(key: str) -> Artifact:
    return Artifact(
        key=key, content_type="video/mp4", bytes=9, sha256="a" * 64, width=64, height=64, frames=16, fps=8
    )


@pytest.fixture(name="make_artifact")
def make_artifact_fixture() -> Callable[[str], Artifact]:
    return make_artifact


@dataclass
class Scene:
    """The store with the moves that most tests begin with."""

    jobs: JobStore
    clock: ServerClock
    redis: Redis
    lease_s: float = 15.0
    models: list[str] = field(default_factory=lambda: ["micro"])

    def submit(self, job_id: str, tenant: str = "default", **fields: Any) -> str:
        submitted = self.jobs.submit(make_submission(job_id, tenant, **fields))
        assert submitted.outcome is SubmitOutcome.CREATED
        return job_id

    def claim(
        self, worker: str = "w1", limit: int = 1, pool: str = "default", known: Sequence[tuple[str, int]] = ()
    ) -> tuple[Claim, ...]:
        return self.jobs.claim(pool, worker, limit, self.lease_s, self.models, known)

    def claimed_ids(self, worker: str = "w1", limit: int = 1) -> list[str]:
        return [claim.job.id for claim in self.claim(worker, limit)]

    def running(self, job_id: str = "video_a", **fields: Any) -> str:
        """A submitted job whose first attempt runs on w1."""
        self.submit(job_id, **fields)
        assert self.claimed_ids() == [job_id]
        return job_id

    def types(self, job_id: str, tenant: str = "default") -> list[str]:
        return [event.type for event in self.jobs.events(tenant, job_id)]

    def outbox(self) -> list[tuple[str, str]]:
        entries = self.redis.xrange("{mc}:outbox")
        return [(fields[b"job_id"].decode(), fields[b"type"].decode()) for _, fields in entries]

    def reap(self, **limits: float) -> Any:
        return self.jobs.reap(self.lease_s, **limits)  # type: ignore[arg-type]

    def let_lease_run_out(self) -> None:
        """Time passes as it does in service: with a reap every few seconds, until a lease is over."""
        for _ in range(4):
            self.clock.advance(self.lease_s / 3)
            reaped = self.reap()
            if reaped.ids:
                return
        raise AssertionError("no lease ran out")


@pytest.fixture
def scene(jobs: JobStore, clock: ServerClock, redis: Redis) -> Scene:
    scene = Scene(jobs, clock, redis)
    scene.reap()  # the first reap ever only takes note of the time
    return scene


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    """The model of the store, which lies beside the tests (they are not a package)."""
    path = Path(__file__).with_name("model_of_store.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
