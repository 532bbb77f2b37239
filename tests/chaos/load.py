"""Clients: a seeded stream of mixed jobs, sent until accepted, as a careful integrator would."""

from __future__ import annotations

import io
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from chaos.scene import Scene
from PIL import Image

CLIENTS = 2
UNFINISHED = 5  # jobs under way at a time: both workers busy, a few waiting
GIVES_UP_S = 90.0
LOOKS_S = 900.0  # for a keyframe: on a busy machine a job may wait minutes for its first attempt
JSON = "application/json"
BAD: tuple[dict[str, Any], ...] = (
    {"json": {"prompt": "x", "num_frames": 999}},
    {"json": {"seed": 7}},
    {"content": b'{"prompt": "x", '},
    {"data": {"prompt": "x"}, "files": {"input_reference": ("picture.png", b"no picture", "image/png")}},
)


@dataclass(frozen=True)
class Promise:
    """A 202: from here on the job must end as `want` says: "succeeded", "cancelled" or a failure's code.

    A cancelled job may also have succeeded before the cancel was heard.
    """

    id: str
    want: str


@dataclass
class Ledger:
    """What was promised, and what clients saw go wrong.

    `accepted`, `ended`: when a job was, or was seen to be, by this process's clock. The record's own times
    are by the clock of Redis, which a fault may move.
    """

    promises: dict[str, Promise] = field(default_factory=dict)
    endpoints: dict[str, str] = field(default_factory=dict)  # path that hears of every job -> endpoint's id
    refused: int = 0  # bad requests, rightly refused
    complaints: list[str] = field(default_factory=list)
    accepted: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, job_id: str, want: str) -> None:
        with self._lock:
            self.promises[job_id] = Promise(job_id, want)
            self.accepted.setdefault(job_id, time.time())

    def unfinished(self) -> list[str]:
        with self._lock:
            return [job_id for job_id in self.promises if job_id not in self.ended]


class Client:
    """One caller with a connection of its own and a random stream of its own."""

    def __init__(self, scene: Scene, ledger: Ledger, seed: str) -> None:
        self._scene, self._ledger, self._seed = scene, ledger, seed
        self._random = Random(seed)
        self._sent = 0
        self._http = httpx.Client(base_url=scene.gateway_url, timeout=5, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def send_any(self, slow_s: float) -> None:
        """One request of the mix: 5 % bad, 10 % cancelled, 5 % gated, 10 % sent twice, 20 % a picture."""
        dice = self._random.random()
        if dice < 0.05:
            self._send_bad()
            return
        want = "cancelled" if dice < 0.15 else "succeeded"
        prompt = f"a shape moving [slow {self._random.uniform(0.2, 1.8) * slow_s:.3f}]"
        gated = 0.15 <= dice < 0.2
        job_id = self.create(prompt, want, twice=dice > 0.9, picture=0.7 < dice < 0.9, gated=gated)
        if gated and job_id is not None:
            self._approve(job_id)
        if want == "cancelled" and job_id is not None:
            time.sleep(self._random.uniform(0, 0.6))
            self.cancel(job_id)

    def create(
        self,
        prompt: str,
        want: str = "succeeded",
        *,
        twice: bool = False,
        picture: bool = False,
        gated: bool = False,
        steps: int | None = None,
    ) -> str | None:
        """POST until it is accepted; the id, or None after a complaint."""
        self._sent += 1
        key = f"{self._seed}-{self._sent}"
        fields: dict[str, Any] = {"prompt": f"{prompt} {key}", "webhook_url": self._scene.hook, "seed": 7}
        if gated:
            fields |= {"pause_after": "image", "candidates": 2}
        if steps is not None:
            fields["num_inference_steps"] = steps
        body: dict[str, Any] = {"json": fields}
        if picture:
            texts = {"fit": "cover"} | {name: str(text) for name, text in fields.items()}
            body = {"data": texts, "files": {"input_reference": ("picture.png", _picture(), "image/png")}}
        ids = set()
        for _ in range(2 if twice else 1):
            answer = self._until_answered("POST", "/videos", {"idempotency-key": key}, body)
            if answer is None or answer.status_code not in (200, 202):
                self._ledger.complaints.append(f"{key}: never accepted: {answer and answer.text}")
                return None
            ids.add(str(answer.json()["id"]))
            self._ledger.accept(str(answer.json()["id"]), want)
        if len(ids) != 1:
            self._ledger.complaints.append(f"{key}: one key made {len(ids)} jobs: {sorted(ids)}")
        return ids.pop()

    def _approve(self, job_id: str) -> None:
        """Choose the second keyframe as soon as there is one, as an owner who looks at nothing else would."""
        until = time.monotonic() + LOOKS_S
        while time.monotonic() < until:
            answer = self._until_answered("POST", f"/videos/{job_id}/approve", {}, {"json": {"candidate": 1}})
            if answer is not None and answer.status_code == 200:
                return
            time.sleep(0.2)
        self._ledger.complaints.append(f"{job_id}: its keyframe could not be approved")

    def listen(self, path: str) -> None:
        """Make a webhook endpoint that hears of all jobs of their owner, under `path` of the receiver."""
        url = self._scene.hook.replace("/hook", path)
        answer = self._until_answered("POST", "/webhook_endpoints", {}, {"json": {"url": url}})
        assert answer is not None
        self._ledger.endpoints[path] = answer.raise_for_status().json()["id"]

    def cancel(self, job_id: str) -> None:
        """Call a job off; it may have ended."""
        self._until_answered("POST", f"/videos/{job_id}/cancel", {}, {})

    def _send_bad(self) -> None:
        """A wrong value, no prompt, half of a body, or a picture that is none."""
        body = self._random.choice(BAD)
        answer = self._until_answered(
            "POST", "/videos", {"content-type": JSON} if "content" in body else {}, body
        )
        if answer is None or answer.status_code not in (400, 422):
            self._ledger.complaints.append(f"a bad request was answered {answer and answer.status_code}")
        else:
            self._ledger.refused += 1

    def _until_answered(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> httpx.Response | None:
        """The first answer that is neither a broken connection nor "come back later"; None after a while."""
        until = time.monotonic() + GIVES_UP_S
        while time.monotonic() < until:
            try:
                answer = self._http.request(method, path, headers=headers, **body)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code not in (429, 500, 502, 503, 504):
                return answer
            if answer.status_code == 500:
                self._ledger.complaints.append(f"{method} {path} was answered 500: {answer.text}")
            time.sleep(0.2)
        return None


class Load:
    """A few clients at work until `stop`; keeps about `under_way` jobs under way."""

    def __init__(
        self,
        scene: Scene,
        ledger: Ledger,
        seed: str,
        slow_s: float,
        clients: int = CLIENTS,
        under_way: int = UNFINISHED,
    ) -> None:
        self._scene, self._ledger, self._slow_s, self._under_way = scene, ledger, slow_s, under_way
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(f"{seed}-client{n}",)) for n in range(clients)
        ]
        self._threads.append(threading.Thread(target=self._look))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, seed: str) -> None:
        with closing(Client(self._scene, self._ledger, seed)) as client:
            while not self._stop.is_set():
                if len(self._ledger.unfinished()) < self._under_way:
                    client.send_any(self._slow_s)
                else:
                    time.sleep(0.05)

    def _look(self) -> None:
        """Tick off what has ended, so that the clients know when to send more."""
        while not self._stop.wait(0.1):
            tick_off(self._scene, self._ledger)


def tick_off(scene: Scene, ledger: Ledger) -> None:
    for job_id in ledger.unfinished():
        job = scene.record(job_id)
        if job is not None and job.terminal:
            ledger.ended.setdefault(job_id, time.time())


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()
