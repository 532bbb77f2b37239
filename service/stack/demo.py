"""One video, all the way, through real processes: the whole service starts, makes it and goes away again."""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from service.client import Client, MicroCinemaError, Video, VideoOptions
from service.stack.plan import Stack, plan_stack
from service.stack.settings import StackSettings
from service.stack.state_folder import StateFolder
from service.stack.terminal import ProgressBar, prefixed_log
from service.supervision.ports import free_ports
from service.supervision.supervisor import Supervisor

READY_WITHIN_S = 300.0
RENDERED_WITHIN_S = 900.0
DECODED_WITHIN_S = 120.0
LOG_LINES_SHOWN = 30


class DemoFailed(Exception):
    """The demo did not end with the promised video."""


@dataclass(frozen=True)
class DemoVideo:
    """What the demo made, and how long it took in seconds: until ready, and from POST to completed."""

    video: Video
    path: Path
    sheet: Path
    setup_s: float
    render_s: float


def make_demo(
    settings: StackSettings,
    prompt: str,
    *,
    options: VideoOptions,
    folder: Path,
    state_dir: Path | None,
    screen: TextIO,
) -> DemoVideo:
    """Start a service on free ports, make the video, and prove that the file decodes to its frames.

    Writes `folder`/<id>.mp4, <id>.png (the contact sheet) and demo.log (what the processes said). Without
    `state_dir` the service's state is thrown away. No child outlives this call.
    Raises DemoFailed with the end of the log, or MicroCinemaError for an order that the service refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "demo.log"
    bar = ProgressBar(screen)
    started = time.monotonic()
    with contextlib.ExitStack() as held:
        log = held.enter_context(log_path.open("w", encoding="utf-8"))
        chosen = state_dir or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="microcinema-")))
        state = held.enter_context(StateFolder(chosen))
        stack = plan_stack(settings, state, host="127.0.0.1", port=free_ports(1)[0])
        try:
            with _running(stack, log, bar) as client:
                setup_s = time.monotonic() - started
                video = _film(client, prompt, options, bar)
                render_s = time.monotonic() - started - setup_s
                path = folder / f"{video.id}.mp4"
                client.download(video.id, path)
        except DemoFailed as failure:
            raise DemoFailed(f"{failure}\n{_tail(log_path)}\nThe whole log: {log_path}") from None
        finally:
            bar.end()
    return DemoVideo(video, path, _checked_sheet(path, video.num_frames), setup_s, render_s)


@contextlib.contextmanager
def _running(stack: Stack, log: TextIO, bar: ProgressBar) -> Iterator[Client]:
    """The service, ready; ended in order when the block is left, however it is left."""
    ready = threading.Event()
    supervisor = Supervisor(stack.children, show=prefixed_log(log), on_ready=ready.set)
    thread = threading.Thread(target=supervisor.run, name="supervisor")
    thread.start()
    try:
        _await_ready(supervisor, thread, ready, bar)
        with Client(stack.url) as client:
            yield client
    finally:
        supervisor.stop()
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt:
                supervisor.stop()  # the second asks more firmly, the third kills


def _await_ready(
    supervisor: Supervisor, thread: threading.Thread, ready: threading.Event, bar: ProgressBar
) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not ready.wait(0.2):
        bar.draw(0, "starting gateway, worker and notifier; loading the weights")
        if not thread.is_alive():
            raise DemoFailed(f"The service did not start: {supervisor.crash}.")
        if time.monotonic() > deadline:
            raise DemoFailed(f"The service was not ready within {READY_WITHIN_S:g} s.")


def _film(client: Client, prompt: str, options: VideoOptions, bar: ProgressBar) -> Video:
    promised = client.create(prompt, **options)
    try:
        made = client.wait(promised.id, on_progress=bar.show, timeout_s=RENDERED_WITHIN_S)
    except TimeoutError as error:
        raise DemoFailed(f"{error}.") from None
    except KeyboardInterrupt:
        with contextlib.suppress(MicroCinemaError):
            client.cancel(promised.id)  # else the worker, told to stop, would finish the video first
        raise
    if made.status == "failed":
        raise DemoFailed(f"{made.id} {made.state}: {made.error.message if made.error else 'no reason given'}")
    if made.num_frames != promised.num_frames:
        raise DemoFailed(f"{promised.num_frames} frames were promised, {made.num_frames} are announced.")
    return made


def _checked_sheet(path: Path, frames: int) -> Path:
    """Decode the file in a process that may import a decoder (service/ may not), and draw its frames."""
    sheet = path.with_suffix(".png")
    command = [
        sys.executable,
        "-m",
        "worker.film.contact_sheet",
        str(path),
        str(sheet),
        "--frames",
        str(frames),
    ]
    proof = subprocess.run(command, capture_output=True, text=True, timeout=DECODED_WITHIN_S, check=False)
    if proof.returncode != 0:
        raise DemoFailed(proof.stderr.strip() or f"checking {path} ended with {proof.returncode}")
    return sheet


def _tail(log_path: Path) -> str:
    lines = log_path.read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[-LOG_LINES_SHOWN:])
