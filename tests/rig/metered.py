"""The whole service as plain processes with a Prometheus that scrapes them, and a load to look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from rig.forked import ForkedModule, forked_module
from rig.plain_http import PLAIN, says_ready
from rig.processes import free_ports, wait_until
from rig.prometheus import Prometheus, running_prometheus
from rig.receiver import Receiver
from rig.valkey import running_valkey

READY_S = 150  # a worker imports torch and diffusers, on a machine that may have better to do
SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="


@dataclass(frozen=True)
class Metered:
    """`began`: when Prometheus had scraped everybody, in seconds since 1970."""

    url: str
    redis_url: str
    prometheus: Prometheus
    receiver: Receiver
    began: float

    def render(self, videos: int, at_once: int = 1, **fields: object) -> None:
        """Post `videos`, waiting for the end of each `at_once` of them; every one must succeed."""
        with httpx.Client(base_url=self.url, timeout=20, **PLAIN) as client:
            for first in range(0, videos, at_once):
                asked = [
                    client.post(
                        "/videos",
                        json={
                            "prompt": "a red circle moving left on a white background",
                            "seed": first + number,
                            "webhook_url": self.receiver.url,
                            **fields,
                        },
                    ).json()["id"]
                    for number in range(min(at_once, videos - first))
                ]

                def ended(names: list[str] = asked) -> bool:
                    states = [client.get(f"/videos/{name}").json()["state"] for name in names]
                    assert set(states) <= {"queued", "running", "succeeded"}, states
                    return set(states) == {"succeeded"}

                wait_until(ended, 120, f"{asked} succeeded")


@contextmanager
def metered_service(folder: Path, weights: Path, workers: int = 1, **environment: str) -> Iterator[Metered]:
    """A gateway, a notifier, workers with these weights, and everybody scraped once a second."""
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver(statuses=[500, 200]))
        port, notifier_port, *probes = free_ports(2 + workers)
        common = {
            "REDIS_URL": stack.enter_context(running_valkey(folder / "valkey")),
            "MICROCINEMA_PORT": str(port),
            "MICROCINEMA_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
            "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
            "MICROCINEMA_WEIGHTS": str(weights),
            "MICROCINEMA_DEVICE": "cpu",
            "MICROCINEMA_WEBHOOK_SECRET": SECRET,
            "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
            "MICROCINEMA_WEBHOOK_DELAYS_S": "[1, 1]",
            "MICROCINEMA_NOTIFIER_METRICS_PORT": str(notifier_port),
            "MICROCINEMA_CHECKPOINT_EVERY_S": "0",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **environment,
        }

        def start(module: str, name: str, **own: str) -> ForkedModule:
            process = forked_module(module, {**common, **own}, folder, name).start()
            stack.callback(process.end)
            return process

        started = {
            f"http://127.0.0.1:{port}/readyz": start("service.main", "gateway"),
            f"http://127.0.0.1:{notifier_port}/metrics": start("service.notifier.main", "notifier"),
        }
        for number, probe in enumerate(probes):
            own = {
                "MICROCINEMA_PROBE_PORT": str(probe),
                "MICROCINEMA_SPOOL_DIR": str(folder / f"spool-{number}"),
            }
            started[f"http://127.0.0.1:{probe}/readyz"] = start("worker.main", f"worker-{number}", **own)
        for url, process in started.items():
            wait_until(lambda at=url, of=process: _ready(at, of), READY_S, f"{process.name} is ready")
        targets = {
            "gateway": [f"127.0.0.1:{port}"],
            "notifier": [f"127.0.0.1:{notifier_port}"],
            "worker": [f"127.0.0.1:{probe}" for probe in probes],
        }
        prometheus = stack.enter_context(running_prometheus(folder / "prometheus", targets))
        yield Metered(f"http://127.0.0.1:{port}", common["REDIS_URL"], prometheus, receiver, time.time())


def _ready(url: str, process: ForkedModule) -> bool:
    assert process.alive(), process.output()
    return says_ready(url)
