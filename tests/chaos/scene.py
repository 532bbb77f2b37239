"""The service under fire: a real Valkey, real processes behind our proxies, somebody who restarts them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis
from rig.forked import Forked
from rig.plain_http import PLAIN
from rig.processes import Running, free_ports, wait_until
from rig.receiver import Receiver
from rig.skewed_clock import SkewedClock
from rig.tcp_proxy import LossyProxy
from rig.valkey import answers, valkey

from service.contracts.job import VideoJob
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.store.connections import connect_sync
from service.store.errors import StoreUnavailable
from service.store.script import Store
from service.store.store import JobStore

#: The sweep turns once a second and takes a gap of more than half a lease for an outage: below 2 s of lease
#: nothing would ever be reaped. 3 s leaves room for a machine that is slow.
LEASE_S = 3.0
RESTART_AFTER_S = 0.3
WORKERS = ("worker-0", "worker-1")
SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="
TRIES_AFTER_S = [0.3, 0.5, 1.0, 1.0, *[2.0] * 30]


@dataclass
class Part:
    """One process of the service that is started again whenever it falls, and its own way to Redis."""

    forked: Forked
    proxy: LossyProxy
    exits: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.forked.name


@dataclass
class Scene:
    """Everything that a fault may strike, and what the audit looks at."""

    folder: Path
    redis_url: str
    server: Running
    parts: dict[str, Part]
    receiver: Receiver
    receiver_proxy: LossyProxy
    gateway_url: str
    storage: FileStore
    redis: Redis
    clocks: dict[str, SkewedClock] = field(default_factory=dict)  # of each part's host, and of "valkey"
    _done: threading.Event = field(default_factory=threading.Event)

    @property
    def hook(self) -> str:
        """Where webhooks go."""
        return f"http://127.0.0.1:{self.receiver_proxy.port}/hook"

    @property
    def store(self) -> JobStore:
        """The record as it is, past every proxy."""
        return JobStore(Store(self.redis))

    def workers(self) -> list[Part]:
        return [self.parts[name] for name in WORKERS]

    def record(self, job_id: str) -> VideoJob | None:
        """None while Redis is away, too: whoever asks comes back."""
        try:
            return self.store.record(job_id)
        except StoreUnavailable:
            return None

    def held_by(self, part: Part) -> str | None:
        """How `part` calls itself in the record, if it has said so in its log."""
        for line in reversed(part.forked.output().splitlines()):
            if '"worker_starts"' in line:
                with contextlib.suppress(ValueError):
                    return str(json.loads(line)["worker"])
        return None

    def start_server(self) -> None:
        self.server.start()
        wait_until(lambda: answers(self.redis_url), 20, "valkey answers")

    def keep(self) -> None:
        """The supervisor: whoever falls is started again. Runs until `close`."""
        while not self._done.wait(0.1):
            for part in self.parts.values():
                code = part.forked.exit_code
                if code is not None and not self._done.wait(RESTART_AFTER_S):
                    part.exits.append(code)
                    part.forked.start()

    def close(self) -> None:
        self._done.set()


@contextmanager
def running_scene(folder: Path, weights: Path, settings: Mapping[str, str]) -> Iterator[Scene]:
    """Two workers, a gateway, a notifier, ready for jobs; all of them are killed with the block."""
    (folder / "suffered").mkdir(parents=True)
    redis_port, gateway_port = free_ports(2)
    redis_url = f"redis://127.0.0.1:{redis_port}/0"
    server = valkey(folder / "valkey", redis_port)
    clocks = {"valkey": SkewedClock(folder / "valkey.skew")}
    server.environment = clocks["valkey"].environment
    with ExitStack() as stack:
        stack.callback(server.end, 2)
        receiver = stack.enter_context(Receiver())
        hook_port = int(receiver.url.rsplit(":", 1)[1].split("/")[0])
        receiver_proxy = stack.enter_context(LossyProxy(("127.0.0.1", hook_port)))
        environment = {
            "MICROCINEMA_PORT": str(gateway_port),
            "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
            "MICROCINEMA_WEIGHTS": str(weights),
            "MICROCINEMA_DEVICE": "cpu",
            "MICROCINEMA_WEBHOOK_SECRET": SECRET,
            "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
            "MICROCINEMA_WEBHOOK_DELAYS_S": json.dumps(TRIES_AFTER_S),
            "MICROCINEMA_WEBHOOK_TIMEOUT_S": "1.5",
            "MICROCINEMA_LEASE_S": str(LEASE_S),
            "MICROCINEMA_BEAT_S": "0.5",
            "MICROCINEMA_UPLOAD_PATIENCE_S": "2",
            "MICROCINEMA_SPOOL_DIR": str(folder / "spool"),
            "MICROCINEMA_CHECKPOINT_EVERY_S": "0",  # behind every step, so that faults strike here too
            "HF_HUB_OFFLINE": "1",
            **settings,
        }
        parts: dict[str, Part] = {}
        modules = {"gateway": "service.main", "notifier": "service.notifier.main"}
        for name in ("gateway", "notifier", *WORKERS):
            proxy = stack.enter_context(LossyProxy(("127.0.0.1", redis_port)))
            clocks[name] = SkewedClock(folder / f"{name}.skew")
            own = {**environment, **clocks[name].environment}
            own["REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
            arguments = () if name in modules else (folder / "suffered",)
            module = modules.get(name, "rig.ailing")
            forked = Forked(name, module, own, folder / f"{name}.log", arguments)
            parts[name] = Part(forked, proxy)
        scene = Scene(
            folder,
            redis_url,
            server,
            parts,
            receiver,
            receiver_proxy,
            f"http://127.0.0.1:{gateway_port}",
            FileStore(folder / "artifacts", LinkSigner(b"only-for-tests" * 4, "http://x", time.time)),
            stack.enter_context(connect_sync(redis_url)),
            clocks,
        )
        for part in parts.values():
            stack.callback(part.forked.end)
        scene.start_server()
        for part in parts.values():
            part.forked.start()
        keeper = threading.Thread(target=scene.keep, name="keeper")
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(scene.close)
        wait_until(lambda: _ready(scene), 90, f"the service is ready\n{_outputs(scene)}")
        yield scene


def _ready(scene: Scene) -> bool:
    with contextlib.suppress(httpx.HTTPError, StoreUnavailable):
        answer = httpx.get(f"{scene.gateway_url}/readyz", timeout=2, **PLAIN)
        return answer.status_code == 200 and scene.store.live_workers("default") == len(WORKERS)
    return False


def _outputs(scene: Scene) -> str:
    return "\n".join(f"--- {name}\n{part.forked.output()[-2000:]}" for name, part in scene.parts.items())
