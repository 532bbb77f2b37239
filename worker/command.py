"""`microcinema-worker`: one worker in this process or, with `--gpus`, one for each GPU, looked after.

Exit codes: those of a worker (worker/main.py), 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from service.contracts.environment import UnusableSettings, check_settings, read_settings
from service.logs import configure_logs
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from service.tracing import TraceSettings
from worker.ending import end_at_once
from worker.host.crew import crew_for, keep_alive
from worker.host.devices import NoSuchDevice, devices_for, nvidia_devices
from worker.host.settings import HostSettings
from worker.probes import CannotListen
from worker.settings import WorkerSettings

#: As of one worker that may start at another time (worker/main.py, which needs torch).
_LATER = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; returns the exit code."""
    parser = argparse.ArgumentParser(prog="microcinema-worker", description="Renders videos.")
    parser.add_argument(
        "--gpus",
        metavar="all|0,2",
        help="one worker for each of these GPUs of this host, looked after (default: MICROCINEMA_GPUS, or "
        "one worker in this process)",
    )
    asked = parser.parse_args(arguments).gpus
    try:
        # One sentence here is better than one from each worker.
        check_settings(HostSettings, WorkerSettings, RedisSettings, StorageSettings, TraceSettings)
        settings = read_settings(HostSettings)
        gpus = asked if asked is not None else settings.gpus
        if not gpus:
            from worker.main import main as work

            return work()
        crew = crew_for(devices_for(gpus, settings.cuda_visible_devices, nvidia_devices), settings)
    except (UnusableSettings, NoSuchDevice) as error:
        sys.stderr.write(f"the worker cannot start: {error}\n")
        return os.EX_CONFIG
    configure_logs(settings.log_format, settings.log_level, process="supervisor")
    try:
        return keep_alive(crew, settings, out=sys.stderr)
    except CannotListen as error:
        sys.stderr.write(f"the worker cannot start: {error}\n")
        return _LATER


def run() -> None:
    """The installed command."""
    end_at_once(main())


if __name__ == "__main__":
    run()
