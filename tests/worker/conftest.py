"""A whole worker on a real Valkey and a real folder; only the model is small, and misbehaves on request."""

import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image
from redis import Redis
from rig.fake_accelerator import FakeAccelerator
from rig.fake_renderer import WEIGHTS, FakeRenderer
from rig.processes import wait_until
from rig.valkey import VOLATILE, running_valkey

from models.memory_need import Activations, MemoryNeed
from service.contracts.compat import compat_key
from service.contracts.deadline import Deadline
from service.contracts.job import VideoJob
from service.contracts.keys import SPRITESHEET, THUMBNAIL, VIDEO
from service.contracts.lifecycle import Stage
from service.contracts.request import PictureRef, VideoRequest
from service.queue import Tickets
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.store.connections import connect_sync
from service.store.nouns import Submission, SubmitOutcome
from service.store.script import Store
from service.store.store import JobStore
from worker.device.plan import GIB, MemoryPlan, plan_memory
from worker.events import AttemptEnded, WorkerEvent
from worker.film.keyframe import picture_artifact
from worker.loading import Loaded
from worker.main import Worker
from worker.parts import Parts
from worker.settings import WorkerSettings
from worker.watchdog import Pulse


@pytest.fixture(autouse=True)
def _all_logs() -> None:
    """Other folders' tests quieten the log for as long as their servers may write."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_valkey(tmp_path_factory.mktemp("valkey"), *VOLATILE) as url:
        yield url


@pytest.fixture
def closing() -> Iterator[Callable[[Redis], Redis]]:
    """Takes clients, and closes them all with the test."""
    clients: list[Redis] = []

    def take(client: Redis) -> Redis:
        clients.append(client)
        return client

    yield take
    for client in clients:
        client.close()


@pytest.fixture
def connect(redis_url: str, closing: Callable[[Redis], Redis]) -> Callable[[], Redis]:
    """Opens clients of an empty server."""
    closing(connect_sync(redis_url)).flushall()
    return lambda: closing(connect_sync(redis_url, timeout_s=5))  # more than a busy machine stalls


@dataclass
class Ward:
    """One worker and its surroundings, and short ways to make and look at jobs."""

    store: JobStore
    tickets: Tickets
    storage: FileStore
    connect: Callable[[], Redis]
    told: list[WorkerEvent] = field(default_factory=list)
    renderer: FakeRenderer = field(default_factory=FakeRenderer)
    accelerator: FakeAccelerator = field(default_factory=FakeAccelerator)
    loads: int = 0
    workers: list[Worker] = field(default_factory=list)

    def load(self) -> Any:
        self.loads += 1
        return Loaded(self.renderer, ("dpm++2m", "ddim"), self.accelerator)

    def plan(self, max_batch: int) -> MemoryPlan:
        """A card with room for every batch, and for four frames in the autoencoder."""
        need = MemoryNeed("fake", {"unet": GIB}, Activations(400, 100, 100, 32, 16, 4))
        return plan_memory(need, self.accelerator.memory(), max_batch)

    def parts(self, name: str = "w1", storage: Any = None, **settings: Any) -> Parts:
        quick = {"lease_s": 30.0, "beat_s": 0.2, "upload_patience_s": 0.3, "max_batch": 1}
        quick |= {"spool_dir": self.storage.root.with_name("spool"), "spool_drain_s": 0.0}
        quick |= {"credentials_dir": self.storage.root.with_name("credentials")}
        whole = quick | settings
        return Parts(
            settings=WorkerSettings(**whole),
            name=name,
            connect=self.connect,
            storage=storage or self.storage,
            plan=lambda: self.plan(whole["max_batch"]),
            load=self.load,
            tell=self.told.append,
        )

    def worker(
        self, name: str = "w1", storage: Any = None, clock: Any = time.monotonic, **settings: Any
    ) -> Worker:
        parts = dataclasses.replace(self.parts(name, storage, **settings), clock=clock)
        self.workers.append(Worker(parts, parts.plan(), self.load(), Pulse()))
        return self.workers[-1]

    def settle(self) -> None:
        """What a worker's spool thread would do: these workers have no threads, and whoever looks at what
        came of a job looks at the end of it."""
        for worker in self.workers:
            while worker.spool.turn():
                pass

    def submit(
        self,
        job_id: str = "video_a",
        compat_weights: str = WEIGHTS,
        finish_by: Deadline | None = None,
        **fields: Any,
    ) -> str:
        whole: dict[str, Any] = {
            "prompt": "a red circle moves left",
            "model": "fake",
            "width": 32,
            "height": 16,
            "num_frames": 4,
            "fps": 8,
            "seed": 7,
            "num_inference_steps": 6,
            "guidance_scale": 5.0,
            "gamma": 0.02,
            "sampler": "ddim",
        }
        request = VideoRequest(**whole | fields)
        first = Stage.IMAGE_TO_VIDEO if request.input_picture else Stage.TEXT_TO_IMAGE
        spec = dataclasses.make_dataclass("Weights", ["weight_hash"])(compat_weights)
        submission = Submission(
            job_id=job_id,
            tenant="default",
            request=request,
            pool="default",
            compat=compat_key(request, spec, first),
            digest="d" * 64,
            queue_limit=100,
            retention_s=3600.0,
            finish_by=finish_by,
        )
        assert self.store.submit(submission).outcome is SubmitOutcome.CREATED
        return job_id

    def own_picture(self, size: tuple[int, int] = (32, 16)) -> PictureRef:
        """A client's picture for the job video_a, stored."""
        body = io.BytesIO()
        Image.new("RGB", size, (200, 10, 10)).save(body, "PNG")
        key = "default/video_a/input/picture.png"
        self.storage.put(key, body.getvalue(), "image/png")
        stored = picture_artifact(key, body.getvalue(), *size)
        return PictureRef(key=key, sha256=stored.sha256, width=size[0], height=size[1])

    def job(self, job_id: str = "video_a") -> VideoJob:
        self.settle()
        job = self.store.get("default", job_id)
        assert job is not None
        return job

    def notes(self, job_id: str = "video_a") -> list[tuple[str, int, int]]:
        """(stage, step, progress) of each progress event."""
        events = [event for event in self.store.events("default", job_id) if event.type == "video.progress"]
        return [(event.data["stage"], event.data["step"], event.data["progress"]) for event in events]

    def animated(self) -> list[int]:
        """The steps of stage 2 that were computed, of all attempts together."""
        return [step for stage, step in self.renderer.stepped if stage == Stage.IMAGE_TO_VIDEO]

    def objects(self) -> list[str]:
        """All stored keys; the two stills beside a video are not told, those without one are."""
        self.settle()
        keys = {stored.key for stored in self.storage.list("default/")}
        for video in [key for key in keys if key.endswith(VIDEO)]:
            keys -= {video.replace(VIDEO, THUMBNAIL), video.replace(VIDEO, SPRITESHEET)}
        return sorted(keys)

    def body(self, key: str) -> bytes:
        return b"".join(self.storage.read(key))

    def outcomes(self) -> list[tuple[str, int, str, str]]:
        """(job, attempt, outcome, code) of each attempt that ended here."""
        return [(e.job_id, e.attempt, e.outcome, e.code) for e in self.heard(AttemptEnded)]

    @staticmethod
    def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
        """Ask again and again: what waits in a spool is offered at its own pace."""
        wait_until(true, seconds, "the condition of the test")

    @staticmethod
    def raising(error: Exception) -> Callable[[], None]:
        """A moment's misbehaviour."""

        def action() -> None:
            raise error

        return action

    def heard(self, kind: type) -> list[Any]:
        self.settle()
        return [event for event in self.told if isinstance(event, kind)]


@pytest.fixture
def ward(connect: Callable[[], Redis], tmp_path: Path) -> Iterator[Ward]:
    signer = LinkSigner(b"a secret of thirty-two bytes....", "http://127.0.0.1", time.time)
    ward = Ward(
        JobStore(Store(connect())), Tickets(connect()), FileStore(tmp_path / "objects", signer), connect
    )
    yield ward
    for worker in ward.workers:
        worker.spool.stop()
