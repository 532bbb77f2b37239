"""The service as plain processes on a Valkey and a local folder that outlive them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from rig.forked import ForkedModule, forked_module
from rig.plain_http import PLAIN
from rig.processes import Running, free_ports, wait_until
from rig.valkey import answers, valkey

SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="
#: A worker imports torch, on a machine that may have better to do (s).
PATIENCE_S = 240.0


@dataclass
class LocalService:
    """`folder/valkey` and `folder/artifacts` are all that lasts; everything else may be started anew."""

    folder: Path
    weights: Path
    redis_port: int
    port: int
    more: dict[str, str] = field(default_factory=dict)
    api_key: str = ""
    running: list[Running | ForkedModule] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "valkey"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @contextmanager
    def redis(self) -> Iterator[Redis]:
        with Redis.from_url(self.redis_url) as client:
            yield client

    def start_valkey(self, *options: str) -> Running:
        server = valkey(self.data, self.redis_port, *options).start()
        self.running.append(server)
        wait_until(lambda: answers(self.redis_url), 60, "valkey answers")
        return server

    def start(self) -> None:
        """Gateway, notifier and worker; returns when requests are taken and the worker is there."""
        self.start_gateway()
        for module in ("service.notifier.main", "worker.main"):
            self.start_part(module)
        self.wait_for_worker()

    def start_gateway(self) -> None:
        """Returns when requests are taken."""
        self.start_part("service.main")
        wait_until(self._takes_requests, PATIENCE_S, f"the gateway is ready\n{self.logs()}")

    def start_part(self, module: str, **more: str) -> ForkedModule:
        """One process, with more settings of its own."""
        environment = {**self._environment(), **more}
        process = forked_module(module, environment, self.folder, module).start()
        self.running.append(process)
        return process

    def wait_for_worker(self) -> None:
        """Returns when a worker has announced itself."""
        with self.redis() as redis:
            wait_until(lambda: redis.exists("{mc}:workers:default") == 1, PATIENCE_S, "a worker is there")

    def kill(self) -> None:
        """Everything at once, without a word."""
        for process in reversed(self.running):
            if process.alive():
                process.kill()
        self.running.clear()

    def destroy(self) -> None:
        """The machine is gone, and its disk."""
        self.kill()
        for folder in (self.data, self.artifacts):
            if folder.exists():  # files may lie in a bucket
                shutil.rmtree(folder)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=30, **PLAIN)

    def create(self, **fields: Any) -> str:
        answer = self.ask("POST", "/videos", {"prompt": "a red circle moving left", "seed": 7, **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def state(self, video_id: str) -> str:
        answer = self.ask("GET", f"/videos/{video_id}")
        return str(answer.json()["state"]) if answer.is_success else f"{answer.status_code}"

    def wait_for(self, video_id: str, state: str) -> None:
        try:
            wait_until(lambda: self.state(video_id) == state, PATIENCE_S, f"{video_id} is {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}, not {self.state(video_id)}\n{self.logs()}") from error

    def logs(self) -> str:
        return "\n".join(f"--- {each.name}\n{each.output()[-2000:]}" for each in self.running)

    def _takes_requests(self) -> bool:
        try:
            return self.ask("GET", "/readyz").is_success
        except httpx.HTTPError:
            return False

    def _environment(self) -> dict[str, str]:
        return {
            "REDIS_URL": self.redis_url,
            "MICROCINEMA_PORT": str(self.port),
            "MICROCINEMA_PUBLIC_BASE_URL": self.url,
            "MICROCINEMA_STORAGE_DIR": str(self.artifacts),
            "MICROCINEMA_SPOOL_DIR": str(self.folder / "spool"),
            "MICROCINEMA_CREDENTIALS_DIR": str(self.folder / "credentials"),
            "MICROCINEMA_WEIGHTS": str(self.weights),
            "MICROCINEMA_DEVICE": "cpu",
            "MICROCINEMA_WEBHOOK_SECRET": SECRET,
            "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            **({"MICROCINEMA_REQUIRE_KEYS": "true"} if self.api_key else {}),
            **self.more,
        }


@contextmanager
def local_service(folder: Path, weights: Path, api_key: str = "", **more: str) -> Iterator[LocalService]:
    """Not started yet; everything that was started is ended with the block. With a key, all must have one."""
    redis_port, port = free_ports(2)
    service = LocalService(folder, weights, redis_port, port, more, api_key)
    try:
        yield service
    finally:
        service.kill()
