"""`microcinema up` and `demo` as a person runs them: real processes, the nano model, Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.processes import Running, free_ports, wait_until

from models.nano import write_nano
from service.client import Client

COMMAND = [sys.executable, "-m", "service.cli.main"]
PROMPT = "a red circle moving right"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at children in /proc")


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    weights = tmp_path_factory.mktemp("nano")
    write_nano(weights)
    return {"MICROCINEMA_WEIGHTS": str(weights), "MICROCINEMA_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def run(environment, tmp_path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        log = tmp_path / f"{arguments[0]}-{len(started)}.log"
        started.append(Running(arguments[0], [*COMMAND, *arguments], environment, log).start())
        return started[-1]

    yield start
    for one in started:
        one.end()


def children_of(pid: int) -> dict[str, int]:
    """Pids of the process's living children by module, or by program where there is none."""
    found: dict[str, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z" and words[0]:  # a dying process has lost its words
            name = words[2] if "-m" in words[:2] else Path(words[0].split()[0]).name
            found[name] = int(folder.name)
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_up_serves_restarts_what_falls_keeps_its_jobs_and_ends_with_ctrl_c(run, tmp_path):
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    service = run("up", "--port", str(port), "--state-dir", str(tmp_path / "state"))
    wait_until(lambda: f"MicroCinema is ready: {url}" in service.output(), 110, "ready")

    film = tmp_path / "film.mp4"
    ordered = run("generate", PROMPT, "--url", url, "--out", str(film), "--seed", "7")
    assert ordered.wait() == 0, ordered.output()
    assert ordered.output().splitlines()[-1] == str(film)
    assert film.read_bytes()[4:8] == b"ftyp"
    refused = run("generate", PROMPT, "--url", url, "--num-frames", "9999")
    assert refused.wait() == 1
    assert "microcinema: HTTP 422: num_frames must be" in refused.output()
    status = run("status", "--url", url)
    assert status.wait() == 0, status.output()
    assert "succeeded  100 %  " + PROMPT in status.output()

    children = children_of(service.pid)
    assert set(children) == {"valkey-server", "service.main", "service.notifier.main", "worker.main"}
    fallen = {children["service.main"], children["valkey-server"]}
    for pid in fallen:
        os.kill(pid, signal.SIGKILL)

    def all_run_again() -> bool:
        alive = children_of(service.pid)
        return set(alive) == set(children) and fallen.isdisjoint(alive.values())

    wait_until(all_run_again, 60, "all four run again")
    with Client(url) as client:
        (kept,) = client.list_videos()
    assert (kept.state, kept.seed, kept.prompt) == ("succeeded", 7, PROMPT)

    everyone = children_of(service.pid)
    assert everyone["worker.main"] == children["worker.main"]
    os.kill(service.pid, signal.SIGINT)
    assert service.wait() == 0, service.output()
    assert not any(map(runs, everyone.values()))


def test_the_demo_ends_with_the_path_of_a_video_that_decodes(run, tmp_path):
    folder = tmp_path / "made"
    demo = run("demo", "--prompt", PROMPT, "--num-frames", "4", "--out", str(folder))
    assert demo.wait(110) == 0, demo.output()
    lines = demo.output().splitlines()
    path = Path(lines[-1].split()[-1])
    assert (path.parent, path.suffix) == (folder, ".mp4")
    proof = [sys.executable, "-m", "worker.film.contact_sheet", str(path), str(tmp_path / "again.png")]
    assert subprocess.run([*proof, "--frames", "4"], check=False).returncode == 0
    assert path.with_suffix(".png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert any(line.startswith("set-up ") and line.endswith(" s") for line in lines)
    assert any(line.startswith("render ") and " s for 4 frames" in line for line in lines)
