"""`microcinema-worker --gpus` as an operator runs it: real workers of a small model, on the CPU."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.plain_http import PLAIN
from rig.processes import ROOT, Running, free_ports, python_module, wait_until
from rig.valkey import running_valkey

from models.nano import write_nano

pytestmark = pytest.mark.timeout(600)
READY_S = 200  # two workers import torch and diffusers, on a machine that may have better to do


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    write_nano(tmp_path / "nano")
    with running_valkey(tmp_path / "valkey") as url:
        yield {
            "REDIS_URL": url,
            "MICROCINEMA_WEIGHTS": str(tmp_path / "nano"),
            "MICROCINEMA_STORAGE_DIR": str(tmp_path / "artifacts"),
            "MICROCINEMA_CREDENTIALS_DIR": str(tmp_path / "credentials"),
            "MICROCINEMA_SPOOL_DIR": str(tmp_path / "spool"),
            "MICROCINEMA_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }


def probe(port: int, path: str = "readyz") -> dict[str, Any]:
    try:
        answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=10, **PLAIN).json()
    except httpx.HTTPError:
        return {}
    return answer


def workers_of(supervisor: int) -> dict[str, int]:
    """Process ids of the workers by the GPU that each was given."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == supervisor:
                told = dict(
                    line.split("=", 1) for line in (folder / "environ").read_text().split("\0") if "=" in line
                )
                found[told["CUDA_VISIBLE_DEVICES"]] = int(folder.name)
        except (OSError, KeyError):
            continue
    return found


def ports_for(count: int) -> int:
    """A port such that it and the `count` above it are free."""
    while True:
        (port,) = free_ports(1)
        if all(not probe(port + above) for above in range(count + 1)):
            return port


@pytest.fixture
def crew(environment: dict[str, str], tmp_path: Path) -> Iterator[Running]:
    port = ports_for(2)
    process = python_module(
        "worker.command", {**environment, "MICROCINEMA_PROBE_PORT": str(port)}, tmp_path, "crew"
    )
    process.argv += ["--gpus", "0,2"]
    process.start()
    yield process
    process.end()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are looked up in /proc")
def test_two_workers_are_kept_alive_and_end_with_their_supervisor(crew):
    port = int(crew.environment["MICROCINEMA_PROBE_PORT"])
    both = {"gpu0": True, "gpu2": True}
    wait_until(lambda: probe(port) == both, READY_S, f"both ready\n{crew.output()}")
    assert probe(port, "livez") == {"supervising": True}
    assert probe(port + 1)["warm"]
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, **PLAIN).text
    assert 'microcinema_worker_restarts_total{place="gpu0"} 0.0' in told
    loads = re.findall(r"^microcinema_worker_model_load_seconds\{place=\"(\w+)\"\}", told, re.M)
    assert loads == ["gpu0", "gpu2"]
    before = workers_of(crew.pid)
    assert set(before) == {"0", "2"}

    os.kill(before["2"], signal.SIGKILL)
    wait_until(lambda: probe(port) == {"gpu0": True, "gpu2": False}, 30, "one is missed")
    wait_until(lambda: probe(port) == both, READY_S, f"it is back\n{crew.output()}")
    after = workers_of(crew.pid)
    assert (after["0"], after["2"] != before["2"]) == (before["0"], True)

    lines = [json.loads(line) for line in crew.output().splitlines()]
    names = {line["worker"].rsplit("-", 2)[1] for line in lines if line["event"] == "worker_starts"}
    assert names == {"gpu0", "gpu2"}
    assert {line["place"] for line in lines if line["process"] == "worker"} == {"gpu0", "gpu2"}

    crew.kill()  # no last word: the kernel ends the workers
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in after.values()), 30, "no orphan")


def test_the_whole_drains_by_one_signal_and_ends_with_0(crew):
    port = int(crew.environment["MICROCINEMA_PROBE_PORT"])
    for place in (1, 2):  # the signal finds both with their handlers set
        wait_until(lambda at=port + place: probe(at) != {}, READY_S, f"both answer\n{crew.output()}")
    crew.terminate()
    assert crew.wait(READY_S) == 0, crew.output()
    ended = [json.loads(line) for line in crew.output().splitlines() if "supervisor_ends" in line]
    assert ended[0]["endings"] == {"gpu0": 0, "gpu2": 0}


def test_weights_that_are_not_there_end_the_whole_with_78_and_the_reason(environment, tmp_path):
    broken = {**environment, "MICROCINEMA_WEIGHTS": str(tmp_path / "nowhere")}
    process = python_module("worker.command", broken, tmp_path, "crew")
    process.argv += ["--gpus", "0,1"]
    process.start()
    assert process.wait(READY_S) == os.EX_CONFIG, process.output()
    said = process.output()
    assert "cannot_start" in said
    assert '"event":"crash_loop"' in said
    assert "says that its settings are unusable (exit code 78)" in said


@pytest.mark.parametrize("arguments", [[], ["--gpus", "0"]])
@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "\u2603" * 99])
def test_a_place_for_probes_that_there_is_not_is_said_in_a_sentence(environment, arguments, host):
    ended = subprocess.run(
        [sys.executable, "-m", "worker.command", *arguments],
        env={**os.environ, **environment, "MICROCINEMA_PROBE_HOST": host},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "probes cannot be served on MICROCINEMA_PROBE_HOST=" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--gpus", "0,0"],
            "the worker cannot start: --gpus '0,0': 0 is named twice; one process, one GPU\n",
        ),
        (["--gpus", "x"], "the worker cannot start: --gpus 'x': 'x' must be a device"),
        ([], "the worker cannot start: MICROCINEMA_POOL"),  # one worker: worker.main itself
        (["--gpus", "0"], "the worker cannot start: MICROCINEMA_POOL"),
    ],
)
def test_what_cannot_start_says_so_before_any_worker_does(environment, arguments, sentence):
    pool = {"MICROCINEMA_POOL": "a b"} if "POOL" in sentence else {}
    ended = subprocess.run(
        [sys.executable, "-m", "worker.command", *arguments],
        env={**os.environ, **environment, **pool},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.startswith(sentence)
