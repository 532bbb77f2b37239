"""A worker for each device: what it is told, and how all of them are kept alive and ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from prometheus_client import CollectorRegistry

from service.logs import format_for, get_logger
from service.supervision.child_process import Child
from service.supervision.ports import free_ports, reachable
from service.supervision.supervisor import RestartPolicy, Supervisor
from worker.host.devices import NoSuchDevice
from worker.host.kernel import adopt_orphans, reap_orphans
from worker.host.labelled import labelled
from worker.host.metrics import CrewMetrics
from worker.host.settings import HostSettings, worker_environment
from worker.host.whole import Whole, says_ready
from worker.probes import Probes
from worker.watchdog import Pulse

#: Between the second SIGTERM and SIGKILL: one step, and what MICROCINEMA_SPOOL_DRAIN_S (20 s) allows.
GIVING_BACK_S = 60.0
#: Models load for minutes and cards come back slowly: 3 minutes of tries in all. One bad card stops no other.
PATIENT = RestartPolicy(
    first_s=1.0, longest_s=60.0, steady_s=60.0, falls_allowed=8, jitter=0.25, others_go_on=True
)
HIGHEST_PORT = 65_535


@dataclass(frozen=True)
class Crew:
    """The workers of a host, and where the probes of each answer, by name."""

    children: tuple[Child, ...]
    probes: dict[str, str]


def crew_for(devices: Sequence[str], settings: HostSettings) -> Crew:
    """One worker for each of `devices` (values of CUDA_VISIBLE_DEVICES, all different, one at least).

    With MICROCINEMA_PROBE_PORT=P their probes answer on P+1, P+2, ... in this order, else on free ports.
    Raises NoSuchDevice where there are not so many ports above P.
    """
    first = settings.probe_port + 1
    if settings.probe_port and settings.probe_port + len(devices) > HIGHEST_PORT:
        raise NoSuchDevice(
            f"MICROCINEMA_PROBE_PORT={settings.probe_port} leaves no ports for {len(devices)} workers: "
            f"it must be at most {HIGHEST_PORT - len(devices)}"
        )
    ports = range(first, first + len(devices)) if settings.probe_port else free_ports(len(devices))
    threads = max(1, (os.cpu_count() or 1) // len(devices))
    defaults = {
        "PYTHONUNBUFFERED": "1",
        # not "auto": a worker whose GPU is gone must fall, not render on the CPU
        "MICROCINEMA_DEVICE": "cuda",
        # threads of several processes that spin for the same cores take many times longer
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(threads),
    }
    host = reachable(settings.probe_host)
    children, probes = [], {}
    for device, port in zip(devices, ports, strict=True):
        name = f"gpu{device}" if device.isdecimal() else device
        probes[name] = f"http://{host}:{port}"
        fixed = {
            "CUDA_VISIBLE_DEVICES": device,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order of nvidia-smi; CUDA's own is by speed
            "MICROCINEMA_PROBE_PORT": str(port),
            # a worker writes into a pipe: what "auto" means is decided by where the whole writes
            "MICROCINEMA_LOG_FORMAT": format_for(settings.log_format, sys.stderr),
        }
        children.append(
            Child(
                name=name,
                argv=(sys.executable, "-m", "worker.host.tether", str(os.getpid())),
                environment=worker_environment(defaults=defaults, fixed=fixed),
                is_ready=partial(says_ready, probes[name]),
                insist_s=settings.stop_grace_s,
                grace_s=settings.stop_grace_s + GIVING_BACK_S,
            )
        )
    return Crew(tuple(children), probes)


def keep_alive(
    crew: Crew,
    settings: HostSettings,
    *,
    out: TextIO,
    policy: RestartPolicy = PATIENT,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run the crew until SIGTERM or SIGINT, or until every worker is given up; the exit code of the whole.

    Main thread only: it takes the signals over, and the kernel ties the workers to this thread.
    """
    log, pulse = get_logger("supervisor"), Pulse(clock)
    supervisor = _supervisor(crew, labelled(out, format_for(settings.log_format, out)), policy, pulse, clock)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    adopt_orphans()
    whole, registry = Whole(crew.probes, pulse), CollectorRegistry()
    registry.register(
        CrewMetrics(crew.probes, lambda: dict(supervisor.restarts), lambda: list(supervisor.endings))
    )
    probes = Probes(
        settings.probe_host, settings.probe_port, live=whole.live, ready=whole.ready, registry=registry
    )
    probes.start()
    try:
        host, port = probes.address
        log.info("supervisor_starts", workers=crew.probes, probes=f"http://{host}:{port}")
        supervisor.run()
    finally:
        probes.stop()
    code = exit_code(list(supervisor.endings.values()))
    if supervisor.crash is not None:
        log.error("crash_loop", problem=supervisor.crash, endings=supervisor.endings, code=code)
    else:
        log.info("supervisor_ends", endings=supervisor.endings, code=code)
    return code


def _supervisor(
    crew: Crew,
    write: Callable[[str, str], None],
    policy: RestartPolicy,
    pulse: Pulse,
    clock: Callable[[], float],
) -> Supervisor:
    log = get_logger("supervisor")

    def show(name: str, line: str) -> None:
        if name == "supervisor":
            log.warning("worker_ended", what=line)
        else:
            write(name, line)

    def turn() -> None:
        pulse.beat()
        reap_orphans(set(supervisor.pids().values()))

    supervisor = Supervisor(
        crew.children,
        show=show,
        on_ready=lambda: log.info("all_ready", workers=len(crew.children)),
        on_turn=turn,
        policy=policy,
        clock=clock,
    )
    return supervisor


def exit_code(endings: Sequence[int]) -> int:
    """Of the whole, from the workers' (as `Popen.returncode`): 0 if all of them ended well.

    Else that of the last that did not, 128 and the number of its signal for one that was killed; 78, behind
    which nobody starts anything again, only if no worker had another.
    """
    failed = [128 - code if code < 0 else code for code in endings if code]
    worth_a_try = [code for code in failed if code != os.EX_CONFIG]
    return (worth_a_try or failed or [0])[-1]
