"""A process whose host has the wrong time of day, by minutes, and may be set to another while it runs.

The C library's own answer is changed (skewed_clock.c), so everything in the process believes it: Python, its
libraries, a Valkey. libfaketime would do, but Python's time.sleep() fails under 0.9.10, the one of Debian 12.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("skewed_clock.c")


@cache
def preloaded_library() -> str | None:
    """Compiled once, gone with this process; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    folder = tempfile.mkdtemp(prefix="microcinema-skew-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = Path(folder) / "skewed_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", built, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return str(built)


@dataclass(frozen=True)
class SkewedClock:
    """The time of day of the processes that are started with `environment`; right until it is set."""

    file: Path

    def __post_init__(self) -> None:
        self.file.write_bytes(bytes(8))

    @property
    def environment(self) -> dict[str, str]:
        library = preloaded_library()
        return {} if library is None else {"LD_PRELOAD": library, "SKEW_FILE": str(self.file)}

    def set(self, seconds: float) -> None:
        """Seconds ahead of the right time (negative: behind), from this moment on."""
        if preloaded_library() is None:
            raise AssertionError("no C compiler (cc) is installed: clocks cannot be skewed here")
        file = os.open(self.file, os.O_WRONLY)
        try:
            os.pwrite(file, round(seconds * 1e6).to_bytes(8, "little", signed=True), 0)
        finally:
            os.close(file)
