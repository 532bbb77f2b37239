"""The whole service as an operator runs it: real processes, a real Valkey, a real S3 server, real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
import redis
from rig.browsing import browser as browser
from rig.browsing import open_page as open_page
from rig.forked import ForkedModule, forked_module
from rig.plain_http import PLAIN, says_ready
from rig.processes import Running, free_ports, python_module, wait_until
from rig.seaweed import RunningS3, running_s3
from rig.valkey import running_valkey

from models.nano import write_nano
from service.store.script import Store
from service.store.store import JobStore

WEBHOOK_SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="

READY_S = 150  # a worker imports torch and diffusers, on a machine that may have better to do


@dataclass
class Service:
    """Started parts, and what a test asks them.

    Their processes are forked from one that has torch in memory: importing would take longer than everything
    else. `by_command`: `python -m`, as an operator starts them.
    """

    environment: dict[str, str]
    folder: Path
    port: int
    redis_url: str
    s3: RunningS3
    by_command: bool = False
    running: list[Running | ForkedModule] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, module: str, name: str, **environment: str) -> Running | ForkedModule:
        """Start one more process; it is ended with the test."""
        make = python_module if self.by_command else forked_module
        process = make(module, {**self.environment, **environment}, self.folder, name).start()
        self.running.append(process)
        return process

    def worker(self, name: str = "worker", **environment: str) -> Running | ForkedModule:
        """A GPU worker that is ready for jobs."""
        (probe,) = free_ports(1)
        process = self.start("worker.main", name, MICROCINEMA_PROBE_PORT=str(probe), **environment)
        wait_until(lambda: says_ready(f"http://127.0.0.1:{probe}/readyz"), READY_S, f"{name} is ready")
        return process

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **PLAIN)

    def create(self, **fields: Any) -> dict[str, Any]:
        with self.client() as client:
            answer = client.post("/videos", json={"prompt": "a red circle moving left", "seed": 7, **fields})
            assert answer.status_code == 202, answer.text
            video: dict[str, Any] = answer.json()
            return video

    def video(self, video_id: str) -> dict[str, Any]:
        with self.client() as client:
            answer = client.get(f"/videos/{video_id}")
            assert answer.status_code == 200, answer.text
            video: dict[str, Any] = answer.json()
            return video

    def wait_for(self, video_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """The video as soon as its `state` is one of `states`."""
        seen: dict[str, Any] = {}

        def arrived() -> bool:
            seen.update(self.video(video_id))
            return seen["state"] in states

        try:
            wait_until(arrived, seconds, f"{video_id} in {states}")
        except AssertionError as error:
            logs = "\n".join(f"--- {each.name}\n{each.output()[-3000:]}" for each in self.running)
            raise AssertionError(f"{error}: {seen}\n{logs}") from error
        return seen

    def store(self) -> JobStore:
        return JobStore(Store(redis.Redis.from_url(self.redis_url)))

    def events(self, video_id: str) -> list[Any]:
        return list(self.store().events("default", video_id, 0, 1000))

    def objects(self, video_id: str) -> list[str]:
        """Keys of everything stored for this job."""
        from service.storage.s3 import connect

        return sorted(each.key for each in connect(self.s3.place).list(f"default/{video_id}/"))


@pytest.fixture(scope="session")
def nano_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    write_nano(folder)
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


StartService = Callable[..., Service]


@pytest.fixture
def start_service(tmp_path: Path, s3: RunningS3, nano_weights: Path) -> Iterator[StartService]:
    """A gateway and a notifier on a Valkey of their own; tests add the workers they need."""
    with ExitStack() as stack:

        def start(
            gateway_redis: Callable[[str], str] = lambda url: url,
            by_command: bool = False,
            **environment: str,
        ) -> Service:
            url = stack.enter_context(running_valkey(tmp_path / "valkey"))
            (port,) = free_ports(1)
            own_s3 = s3.with_bucket(f"videos-{token_hex(8)}")  # ports come again
            service = Service(
                environment={
                    "REDIS_URL": url,
                    "MICROCINEMA_PORT": str(port),
                    "MICROCINEMA_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
                    "MICROCINEMA_WEIGHTS": str(nano_weights),
                    "MICROCINEMA_DEVICE": "cpu",
                    "MICROCINEMA_WEBHOOK_SECRET": WEBHOOK_SECRET,
                    "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
                    "OMP_NUM_THREADS": "1",
                    "HF_HUB_OFFLINE": "1",
                    **own_s3.environment,
                    **environment,
                },
                folder=tmp_path,
                port=port,
                redis_url=url,
                s3=own_s3,
                by_command=by_command,
            )
            stack.callback(lambda: [each.end() for each in reversed(service.running)])
            gateway = service.start("service.main", "gateway", REDIS_URL=gateway_redis(url))
            service.start("service.notifier.main", "notifier")
            wait_until(lambda: says_ready(f"{service.url}/readyz"), 60, f"gateway ready\n{gateway.output()}")
            return service

        yield start
