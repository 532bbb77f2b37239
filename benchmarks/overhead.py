"""What the gateway's requests cost, against a bare FastAPI app that does the same with Redis.

    python -m benchmarks.overhead [--rounds 20] [--requests 400] [--public] [--enforce]

One process of each, over a server of the embedded kind for each; one client asks both in turn, so a slow
minute of the machine hits both alike, and every other round begins with the other one. The bare app
(benchmarks/bare_app.py) checks, logs and counts nothing. Two numbers for each kind of request: how many were
answered a second, by eight connections at once, and how much time of a core the process took for one, which
other work on the machine changes less. Bars, of requests per second: POST at least 0.85 times the bare
app's, GET of a running job at least 0.9 times. With `--public` the gateway also asks for a key and counts
requests, as it does where other machines can reach it; no bars then.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.queue_depth import REQUEST, server
from service.contracts.model_spec import Bounds, FrameBounds, ModelSpec
from service.store.script import Store
from service.store.store import JobStore
from service.supervision.ports import free_ports

BARS = {"POST": 0.85, "GET running": 0.9, "GET queued": None}
READY_WITHIN_S = 60.0
CONNECTIONS = 8
KEY = "mck_" + "k" * 43
PUBLIC = {
    "MICROCINEMA_REQUIRE_KEYS": "true",
    "MICROCINEMA_BOOTSTRAP_KEY": KEY,
    "MICROCINEMA_RATE_LIMITS": "1000000/minute",
}
BODY = {"prompt": REQUEST.prompt, "seed": 7}
SPEC = ModelSpec(
    name="micro",
    weight_hash="0123456789abcdef",
    sizes=((64, 64),),
    frames=FrameBounds(min=4, max=16, multiple_of=4, default=16),
    fps=Bounds[int](min=1, max=30, default=8),
    steps=Bounds[int](min=4, max=50, default=25),
    guidance_scale=Bounds[float](min=1, max=15, default=5),
    gamma=Bounds[float](min=0, max=0.05, default=0.02),
    prompt_max_chars=200,
    max_picture_pixels=1_000_000,
    image_input=True,
    samplers=("dpm++2m", "ddim"),
    description="for the benchmark",
    license="Apache-2.0",
)


@dataclass
class Asked:
    """One of the two servers; by kind of request and round, answers per second and core seconds for each."""

    port: int
    pid: int
    wires: dict[str, bytes]
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    costs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def core_s(self) -> float:
        """Seconds that the process's threads have run (Linux)."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=400, help="in each round, of each kind")
    parser.add_argument("--public", action="store_true", help="with an API key and a rate limit")
    parser.add_argument("--enforce", action="store_true", help="end with 1 when a bar is missed")
    asked = parser.parse_args(argv)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microcinema-bench-")))
        ours = stack.enter_context(_serving("service.main", folder, **(PUBLIC if asked.public else {})))
        bare = stack.enter_context(_serving("benchmarks.bare_app", folder))
        asyncio.run(_measure(ours, bare, asked.rounds, asked.requests))
    missed = False
    for kind, bar in ((kind, None if asked.public else bar) for kind, bar in BARS.items()):
        ratio = statistics.median(a / b for a, b in zip(ours.rates[kind], bare.rates[kind], strict=True))
        (rate, bare_rate), (cost, bare_cost) = (
            [statistics.median(part[kind]) for part in (ours_part, bare_part)]
            for ours_part, bare_part in ((ours.rates, bare.rates), (ours.costs, bare.costs))
        )
        print(
            f"{kind:>12}: {rate:.0f} a second, bare {bare_rate:.0f}, ratio {ratio:.2f} (bar {bar}); "
            f"{cost * 1000:.2f} ms of a core, bare {bare_cost * 1000:.2f}, ratio {bare_cost / cost:.2f}"
        )
        missed |= bar is not None and ratio < bar
    return 1 if asked.enforce and missed else 0


async def _measure(ours: Asked, bare: Asked, rounds: int, requests: int) -> None:
    for each in (ours, bare):
        for kind in BARS:
            await _answered(each, kind, requests)  # not counted: connections and scripts warm up
    for number in range(rounds):
        for kind in BARS:
            for each in (ours, bare) if number % 2 else (bare, ours):
                ran = each.core_s()
                seconds = await _answered(each, kind, requests)
                each.rates[kind].append(requests / seconds)
                each.costs[kind].append((each.core_s() - ran) / requests)


async def _answered(server: Asked, kind: str, requests: int) -> float:
    """Seconds until so many are answered; each connection waits for an answer before it asks again."""
    connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CONNECTIONS)]
    left = iter(range(requests))

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in left:
            writer.write(server.wires[kind])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")), head
            length = head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]
            await reader.readexactly(int(length))

    began = time.perf_counter()
    await asyncio.gather(*(ask(*connection) for connection in connections))
    seconds = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    return seconds


@contextmanager
def _serving(module: str, folder: Path, **more: str) -> Iterator[Asked]:
    """A process of `module`, with these settings, over a server of its own; one job runs and one waits."""
    with server() as redis, (folder / f"{module}.log").open("w") as log:
        (port,) = free_ports(1)
        settings = {
            "REDIS_URL": f"redis://127.0.0.1:{redis.get_connection_kwargs()['port']}/0",
            "MICROCINEMA_PORT": str(port),
            "MICROCINEMA_STORAGE_DIR": str(folder / "artifacts"),
            "MICROCINEMA_QUEUE_LIMIT": "100000000",
            **more,
        }
        command, environment = [sys.executable, "-m", module, str(port)], {**os.environ, **settings}
        process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            _wait_for(port, process)
            jobs = JobStore(Store(redis))
            jobs.announce("gpu-1", "default", [SPEC], alive_s=3600.0)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                client.headers["authorization"] = f"Bearer {KEY}"
                names = [client.post("/videos", json=BODY).json()["id"] for _ in range(2)]
            (claim,) = jobs.claim("default", "gpu-1", 1, 3600.0, ["micro"])
            (queued,) = set(names) - {claim.job.id}
            yield Asked(port, process.pid, _wires(claim.job.id, queued, with_key=bool(more)))
        finally:
            process.terminate()
            process.wait()


def _wires(running: str, queued: str, *, with_key: bool) -> dict[str, bytes]:
    """The bytes of each kind of request."""
    body = json.dumps(BODY)
    asker = f"host: x\r\nauthorization: Bearer {KEY}\r\n" if with_key else "host: x\r\n"
    told = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    looks = {"GET running": running, "GET queued": queued}
    return {
        "POST": f"POST /videos HTTP/1.1\r\n{asker}{told}{body}".encode(),
        **{kind: f"GET /videos/{name} HTTP/1.1\r\n{asker}\r\n".encode() for kind, name in looks.items()},
    }


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False)
            return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("a server did not come up") from None
            time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(main())
