"""One started child process: its output line by line, and its end by SIGTERM, then SIGKILL."""

import contextlib
import math
import os
import selectors
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class Child:
    """A process to keep alive.

    `is_ready` is asked after every start until it first answers True; it must return within a second or so.
    `needs` names children that have to be ready before this one starts and that are ended only after it.
    `grace_s` seconds lie between SIGTERM and SIGKILL; where `insist_s` is less, a second SIGTERM comes after
    so many. `keep_open` lists file descriptors it inherits.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]
    needs: tuple[str, ...] = ()
    grace_s: float = 30.0
    insist_s: float = math.inf
    keep_open: tuple[int, ...] = ()


class ChildProcess:
    """A running `child`, started by the constructor at `now` (monotonic seconds).

    Raises OSError when the program cannot be started at all.
    """

    def __init__(self, child: Child, now: float) -> None:
        self.started_at = now
        self._grace_s, self._insist_s = child.grace_s, child.insist_s
        self._terms_sent = 0
        self._insist_at = self._kill_at = 0.0
        self._unfinished = b""
        reader, writer = os.pipe()
        try:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which then ends the
            # children in order.
            self._process = subprocess.Popen(
                _tethered(child.argv),
                env=dict(child.environment),
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=child.keep_open,
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self.output_fd = reader

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """As `Popen.returncode`: negative for the signal that ended it, None while it lives."""
        return self._process.poll()

    def read(self) -> tuple[list[str], bool]:
        """Whole lines printed since the last call, and whether there may be more to come."""
        try:
            piece = os.read(self.output_fd, LONGEST_LINE)
        except BlockingIOError:
            return [], True
        return self._lines(piece), bool(piece)

    def last_words(self) -> list[str]:
        """What is left in the pipe, the unfinished line included; closes the pipe.

        The end of output is not waited for: a grandchild may hold the pipe open for ever.
        """
        lines: list[str] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self.output_fd, selectors.EVENT_READ)
            more = True
            while more and selector.select(0):
                read, more = self.read()
                lines += read
        os.close(self.output_fd)
        return lines + self._lines(b"")

    def press(self, now: float, stops_asked: int) -> None:
        """Send what is due: SIGTERM once per request to stop, SIGKILL on the third or after the grace."""
        if not self._terms_sent:
            self._insist_at, self._kill_at = now + self._insist_s, now + self._grace_s
        insisting = 2 if self._terms_sent and now >= self._insist_at else 1
        if stops_asked >= 3 or (self._terms_sent and now >= self._kill_at):
            self.end_group()
        elif self._terms_sent < max(insisting, stops_asked):
            self._terms_sent += 1
            self._process.terminate()

    def end_group(self) -> None:
        """SIGKILL for the child and what it started: of an ended one, what it left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: nobody is left to be told
            os.killpg(self.pid, signal.SIGKILL)

    def _lines(self, piece: bytes) -> list[str]:
        *whole, self._unfinished = (self._unfinished + piece).split(b"\n")
        if self._unfinished and (not piece or len(self._unfinished) > LONGEST_LINE):
            whole.append(self._unfinished)
            self._unfinished = b""
        # A progress bar redraws its line after each carriage return: the last drawing is the one to see.
        return [line.decode(errors="replace").rstrip("\r").rpartition("\r")[2] for line in whole]


def in_words(exit_code: int) -> str:
    """How a process ended: "exit code 1" or "SIGKILL"."""
    return f"exit code {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name


def _tethered(argv: tuple[str, ...]) -> tuple[str, ...]:
    # `setpriv` (util-linux) asks the kernel to end the child should the supervisor be killed outright. Where
    # it is missing (macOS) the locked state folder still keeps a second service away from the orphans' files.
    setpriv = shutil.which("setpriv")
    return argv if setpriv is None else (setpriv, "--pdeathsig", "TERM", "--", *argv)
