"""What the Linux kernel does for a supervisor and its workers; elsewhere each of these does nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Container

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LINUX = sys.platform == "linux"


def die_with(parent: int) -> None:
    """From now on this process is killed when `parent`, which started it, ends, or has ended already."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """What a worker leaves behind becomes a child of this process, as of the first process of a container."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(own: Container[int]) -> None:
    """Take ended children off the kernel's table, but for `own`, whose exit codes somebody waits for."""
    if not LINUX:
        return
    with contextlib.suppress(ChildProcessError):  # no child at all
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in own:
                return  # its exit code is its owner's; the rest have their turn after it
            os.waitpid(ended.si_pid, 0)
