"""The whole service, measured from outside: seconds of each video, and the worker's memory."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.client import Client
from service.stack.plan import plan_stack
from service.stack.settings import StackSettings
from service.stack.state_folder import StateFolder
from service.supervision.ports import free_ports
from service.supervision.supervisor import Supervisor

READY_WITHIN_S = 180.0
VIDEO_WITHIN_S = 180.0
PROMPT = "a red circle moving right on a white background"


class NotServed(RuntimeError):
    """The service did not come up."""


@dataclass(frozen=True)
class Served:
    """Seconds per video, warm, and the worker process's peak RSS in bytes.

    `worker_s` runs from claim to stored file, by the worker's own clock; `client_s` from POST until the
    client, which polls, has seen the end.
    """

    worker_s: tuple[float, ...]
    client_s: tuple[float, ...]
    peak_rss: int


def served_videos(count: int) -> Served:
    """Start `microcinema up`'s processes on free ports, make one video to warm up and `count` more, end them.

    Raises NotServed, or the client's errors for a video that fails.
    """
    with running_service() as service:
        worker_s, client_s = [], []
        for number in range(count + 1):
            began = time.perf_counter()
            made = service.client.create(PROMPT, seed=number)
            video = service.client.wait(made.id, timeout_s=VIDEO_WITHIN_S)
            client_s.append(time.perf_counter() - began)
            shown = video.raise_for_failure().model_dump()
            worker_s.append(float(shown["usage"]["seconds"]))
        return Served(tuple(worker_s[1:]), tuple(client_s[1:]), peak_rss(service.pids()["worker"]))


def peak_rss(pid: int) -> int:
    """The most memory that the process ever had resident, bytes (VmHWM; Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/status has no VmHWM line")


@dataclass(frozen=True)
class Service:
    """A running one: `pids` tells the process of each part by its name."""

    client: Client
    redis_url: str
    pids: Callable[[], Mapping[str, int]]


@contextlib.contextmanager
def running_service() -> Iterator[Service]:
    """`microcinema up`'s processes on free ports, until the block ends. NotServed if they do not come up."""
    with contextlib.ExitStack() as held:
        state = held.enter_context(tempfile.TemporaryDirectory(prefix="microcinema-bench-"))
        folder = held.enter_context(StateFolder(Path(state)))
        stack = plan_stack(StackSettings(), folder, host="127.0.0.1", port=free_ports(1)[0])
        said: list[str] = []
        ready = threading.Event()
        supervisor = Supervisor(
            stack.children, show=lambda name, line: said.append(f"{name}: {line}"), on_ready=ready.set
        )
        thread = threading.Thread(target=supervisor.run, name="supervisor")
        thread.start()
        held.callback(thread.join)
        held.callback(supervisor.stop)
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready.wait(0.2):
            if not thread.is_alive() or time.monotonic() > deadline:
                raise NotServed("\n".join(["the service did not come up", *said[-20:]]))
        redis_url = next(
            child.environment["REDIS_URL"] for child in stack.children if child.name == "gateway"
        )
        yield Service(held.enter_context(Client(stack.url)), redis_url, supervisor.pids)
