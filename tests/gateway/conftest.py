"""A real gateway on a real socket over a real Valkey, and a worker that only plays by the rules."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from PIL import Image
from redis import Redis
from rig.browsing import browser as browser
from rig.browsing import open_page as open_page
from rig.plain_http import PLAIN
from rig.receipts import receipt_of, verdict_of
from rig.server_thread import ServerThread
from rig.valkey import running_valkey

from service.api.parts import GatewayParts
from service.contracts.artifact import Artifact
from service.contracts.keys import attempt_prefix, candidate_name
from service.contracts.lifecycle import Stage
from service.contracts.model_spec import Bounds, FrameBounds, ModelSpec
from service.contracts.receipt import Reproduction
from service.main import compose
from service.settings import GatewaySettings
from service.storage.artifact_store import ArtifactStore
from service.storage.settings import StorageSettings, open_store
from service.store.connections import connect_sync
from service.store.nouns import Claim, Note, Outcome, Succeeded
from service.store.script import Store
from service.store.settings import RedisSettings
from service.store.store import JobStore
from service.tracing import no_traces

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 40
PICTURE_COLOUR = (10, 200, 30)


def make_spec(**changes: Any) -> ModelSpec:
    """The bounds of the shipped model, but with a second size and a frame grid, so that both are tried."""
    whole: dict[str, Any] = {
        "name": "micro",
        "weight_hash": "0123456789abcdef",
        "sizes": ((64, 64), (96, 64)),
        "frames": FrameBounds(min=4, max=16, multiple_of=4, default=16),
        "fps": Bounds[int](min=1, max=30, default=8),
        "steps": Bounds[int](min=4, max=50, default=25),
        "guidance_scale": Bounds[float](min=1, max=15, default=5),
        "gamma": Bounds[float](min=0, max=0.05, default=0.02),
        "prompt_max_chars": 200,
        "max_picture_pixels": 1_000_000,
        "image_input": True,
        "samplers": ("dpm++2m", "ddim"),
        "description": "for tests",
        "license": "Apache-2.0",
    }
    return ModelSpec(**whole | changes)


@pytest.fixture(name="make_spec")
def make_spec_fixture() -> Callable[..., ModelSpec]:
    return make_spec


def png(
    width: int = 64, height: int = 64, colour: tuple[int, ...] = PICTURE_COLOUR, kind: str = "PNG"
) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


@pytest.fixture(name="png")
def png_fixture() -> Callable[..., bytes]:
    return png


@dataclass
class FakeWorker:
    """Claims jobs and ends them as told; the record cannot tell it from a GPU."""

    jobs: JobStore
    artifacts: ArtifactStore
    name: str = "gpu-1"
    lease_s: float = 15.0

    def announce(self, *specs: ModelSpec) -> None:
        self.jobs.announce(self.name, "default", specs or (make_spec(),))

    def claim(self) -> Claim:
        (claim,) = self.jobs.claim("default", self.name, 1, self.lease_s, ["micro"])
        return claim

    def paint(self, claim: Claim) -> Artifact:
        """Stage 1: a keyframe, named by the record."""
        job, key = claim.job, f"{attempt_prefix(claim.job.tenant, claim.job.id, claim.attempt)}keyframe.png"
        size = {"width": job.request.width, "height": job.request.height}
        stored = self.artifacts.put(key, png(job.request.width, job.request.height), "image/png")
        keyframe = Artifact(
            key=key, content_type="image/png", bytes=stored.bytes, sha256=stored.sha256 or "", **size
        )
        assert self.jobs.note(job.id, claim.attempt, Note(Stage.IMAGE_TO_VIDEO, 3, 25, 40, keyframe))
        return keyframe

    def offer(self, claim: Claim | None = None) -> str:
        """Stage 1 of a gated job: candidates, each of its own grey, and the wait. Returns the job's id."""
        claim = claim or self.claim()
        job, size = claim.job, (claim.job.request.width, claim.job.request.height)
        assert job.request.gate is not None
        prefix, candidates = attempt_prefix(job.tenant, job.id, claim.attempt), []
        for index in range(job.request.gate.candidates):
            body, key = png(*size, colour=(index, index, index)), prefix + candidate_name(index)
            stored = self.artifacts.put(key, body, "image/png")
            candidates.append(
                Artifact(
                    key=key,
                    content_type="image/png",
                    bytes=stored.bytes,
                    sha256=stored.sha256 or "",
                    width=size[0],
                    height=size[1],
                )
            )
        steps = 3 * len(candidates)
        note = Note(Stage.TEXT_TO_IMAGE, steps, steps, 20, candidates=tuple(candidates))
        assert self.jobs.note(job.id, claim.attempt, note)
        assert self.jobs.hold(job.id, claim.attempt, job.request.gate.approval_s, {"gpu_seconds": 0.5})
        return job.id

    def film(self, claim: Claim, verdict: Reproduction | None = None, **of_receipt: Any) -> Succeeded:
        """Stage 2, encoded and stored; of a repetition with `verdict`, or that of the digests."""
        job, prefix = claim.job, attempt_prefix(claim.job.tenant, claim.job.id, claim.attempt)
        key = f"{prefix}video.mp4"
        stored = self.artifacts.put(key, MP4, "video/mp4")
        request = job.request
        return Succeeded(
            Artifact(
                key=key,
                content_type="video/mp4",
                bytes=stored.bytes,
                sha256=stored.sha256 or "",
                width=request.width,
                height=request.height,
                frames=request.num_frames,
                fps=request.fps,
                frame_digest="f" * 64,
                thumbnail=self._still(f"{prefix}thumbnail.webp", "image/webp", png(kind="WEBP")),
                spritesheet=self._still(f"{prefix}spritesheet.jpg", "image/jpeg", png(kind="JPEG")),
                receipt=(receipt := receipt_of(request, **of_receipt)),
                reproduction=request.reproduces and (verdict or verdict_of(request.reproduces, receipt)),
            ),
            {"gpu_seconds": 1.5},
        )

    def _still(self, key: str, content_type: str, body: bytes) -> Artifact:
        stored = self.artifacts.put(key, body, content_type)
        return Artifact(
            key=key,
            content_type=content_type,
            bytes=stored.bytes,
            sha256=stored.sha256 or "",
            width=64,
            height=64,
        )

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        assert self.jobs.finish(claim.job.id, claim.attempt, outcome).accepted

    def render(self, **of_receipt: Any) -> str:
        """One whole job; returns its id."""
        claim = self.claim()
        if claim.job.keyframe is None:
            self.paint(claim)
        self.finish(claim, self.film(claim, **of_receipt))
        return claim.job.id


@dataclass
class Site:
    """A running gateway, its client, the record behind it and a worker."""

    url: str
    client: httpx.Client
    parts: GatewayParts
    jobs: JobStore
    redis: Redis
    artifacts: ArtifactStore
    worker: FakeWorker
    stop: Callable[[], None]

    def create(self, **fields: Any) -> dict[str, Any]:
        answer = self.client.post("/videos", json={"prompt": "a red circle moves left", **fields})
        assert answer.status_code == 202, answer.text
        video: dict[str, Any] = answer.json()
        return video

    def problem(self, status: int, answer: httpx.Response) -> dict[str, Any]:
        """The problem document of a refused request; checks what all of them have in common."""
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = answer.json()
        assert problem["status"] == status
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["error"]["message"] == problem["detail"]
        assert problem["error"]["code"] == problem["code"]
        return problem


@pytest.fixture(scope="module", autouse=True)
def _quiet_logs() -> Iterator[None]:
    """Server threads log past the end of a test, where pytest captures no more; tests assert what matters.

    For each file anew: those of other parts, run by the same process in between, listen to logs again.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


StartGateway = Callable[..., Site]


@pytest.fixture
def start_gateway(redis_url: str, tmp_path: Path) -> Iterator[StartGateway]:
    """`start_gateway(gateway_redis=URL, parts=change, **settings)`: composed as in production."""
    with ExitStack() as stack:

        def start(
            gateway_redis: str = redis_url,
            parts: Callable[[GatewayParts], GatewayParts] = lambda parts: parts,
            **settings: Any,
        ) -> Site:
            storage = StorageSettings(storage="files", storage_dir=tmp_path / "artifacts")
            composed = parts(
                compose(
                    GatewaySettings(**settings),
                    RedisSettings(REDIS_URL=gateway_redis, timeout_s=5),
                    storage,
                    no_traces(),
                )
            )
            server = stack.enter_context(ServerThread(composed))
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=20, **PLAIN))
            redis = stack.enter_context(connect_sync(redis_url, timeout_s=20))
            jobs, artifacts = JobStore(Store(redis)), open_store(storage)
            worker = FakeWorker(jobs, artifacts)
            return Site(server.url, client, composed, jobs, redis, artifacts, worker, server.stop)

        yield start


@pytest.fixture
def empty_record(redis_url: str) -> None:
    with connect_sync(redis_url) as redis:
        redis.flushall()


@pytest.fixture
def site(empty_record: None, start_gateway: StartGateway) -> Site:
    """An empty record, one live worker, the default settings."""
    site = start_gateway()
    site.worker.announce()
    return site


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-openapi", action="store_true", help="write the OpenAPI snapshot anew")
