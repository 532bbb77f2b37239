"""The service as unmodified clients meet it: real processes, a real Valkey, a real bucket, real webhooks."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from rig.plain_http import PLAIN, says_ready
from rig.processes import Running, free_ports, python_module, wait_until
from rig.receiver import Received, Receiver
from rig.seaweed import running_s3
from rig.valkey import running_valkey

#: In the middle of a rotation: the new one and the old one sign every letter.
SECRETS = (
    "whsec_dGhlLW5ldy1zZWNyZXQtb2YtMzItYnl0ZXMtaGVyZS4=",
    "whsec_dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM=",
)
#: How each gateway differs; they share the record, the bucket and the worker.
GATEWAYS = {
    "url": {},
    "redirecting_url": {"MICROCINEMA_CONTENT": "redirect"},
    "narrow_url": {"MICROCINEMA_QUEUE_LIMIT": "1"},
    "locked_url": {"MICROCINEMA_REQUIRE_KEYS": "true", "MICROCINEMA_BOOTSTRAP_KEY": "mck_" + "k" * 43},
}


@dataclass(frozen=True)
class Scene:
    """Running gateways by what they are for, and a receiver of webhooks."""

    folder: Path
    urls: dict[str, str]
    receiver: Receiver
    model: dict[str, Any]

    def describe(self) -> Path:
        """A file of everything that a client has to be told, with a webhook fresh enough to be believed."""
        spec = self.model["spec"]
        width, height = spec["sizes"][0]
        picture = io.BytesIO()
        Image.new("RGB", (width, height), (10, 200, 30)).save(picture, "PNG")
        told = {
            **{name: f"{url}/v1" for name, url in self.urls.items()},
            "model": self.model["id"],
            "size": f"{width}x{height}",
            "seconds": f"{spec['frames']['default'] / spec['fps']['default']:g}",
            "picture": base64.b64encode(picture.getvalue()).decode(),
            "tokenizer": str(self.folder / "nano" / "tokenizer"),
            "webhook": self._webhook(),
            "receiver": self.receiver.url,
        }
        path = self.folder / "scene.json"
        path.write_text(json.dumps(told))
        return path

    def _webhook(self) -> dict[str, Any]:
        asked = {"prompt": "a red circle moves left", "webhook_url": self.receiver.url}
        answer = httpx.post(f"{self.urls['url']}/videos", json=asked, timeout=20, **PLAIN)
        assert answer.status_code == 202, answer.text
        video_id = answer.json()["id"]

        def arrived() -> list[Received]:
            wanted = ("video.completed", video_id)
            bodies = [(each, json.loads(each.body)) for each in list(self.receiver.received)]
            return [each for each, body in bodies if (body["type"], body["data"]["id"]) == wanted]

        wait_until(lambda: bool(arrived()), 120, f"the webhook of {video_id} arrives")
        (sent, *_) = arrived()
        headers = {name: text for name, text in sent.headers.items() if name.startswith("webhook-")}
        return {"video_id": video_id, "secrets": SECRETS, "headers": headers, "body": sent.body.decode()}


@contextmanager
def running_scene(folder: Path, weights: Path) -> Iterator[Scene]:
    """The gateways, a notifier and a worker, for as long as the block lasts."""
    with ExitStack() as stack:
        s3 = stack.enter_context(running_s3(folder / "s3"))
        receiver = stack.enter_context(Receiver())
        environment = {
            "REDIS_URL": stack.enter_context(running_valkey(folder / "valkey")),
            "MICROCINEMA_WEIGHTS": str(weights),
            "MICROCINEMA_DEVICE": "cpu",
            "MICROCINEMA_WEBHOOK_SECRET": " ".join(SECRETS),
            "MICROCINEMA_WEBHOOK_ALLOW_PRIVATE": "true",
            "MICROCINEMA_LEASE_S": "60",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
            **s3.environment,
        }
        *ports, probe = free_ports(len(GATEWAYS) + 1)
        urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(GATEWAYS, ports, strict=True)}

        def start(module: str, name: str, **own: str) -> Running:
            process = python_module(module, {**environment, **own}, folder, name).start()
            stack.callback(process.end)
            return process

        parts = [start("service.notifier.main", "notifier")]
        parts += [start("worker.main", "worker", MICROCINEMA_PROBE_PORT=str(probe))]
        for (name, own), port in zip(GATEWAYS.items(), ports, strict=True):
            parts.append(start("service.main", name, MICROCINEMA_PORT=str(port), **own))
        for url in (*urls.values(), f"http://127.0.0.1:{probe}"):
            wait_until(lambda url=url: says_ready(f"{url}/readyz"), 120, f"{url} is ready\n{_outputs(parts)}")
        models = httpx.get(f"{urls['url']}/models", timeout=20, **PLAIN).json()["data"]
        yield Scene(folder, urls, receiver, models[0])


def _outputs(parts: list[Running]) -> str:
    return "\n".join(f"--- {part.name}\n{part.output()[-2000:]}" for part in parts)
