"""Several workers seen as one: ready when each of them is."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from worker.watchdog import Pulse

PROBE_TIMEOUT_S = 2.0
#: The loop turns ten times a second, but may wait for probes: a second for each worker, 64 at most.
STUCK_S = 120.0

#: For probes on this machine, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> bytes:
    """The body of an answer of 200, within PROBE_TIMEOUT_S. Raises OSError for everything else."""
    try:
        with _direct.open(url, timeout=PROBE_TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body
    except http.client.HTTPException as error:
        raise OSError(f"{url} does not speak HTTP: {error!r}") from error


def says_ready(address: str) -> bool:
    """Whether the worker whose probes answer at `address` says that it is ready."""
    try:
        ask(f"{address}/readyz")
    except OSError:  # an answer of 503 as well
        return False
    return True


class Whole:
    """`probes`: the address of each worker's probes, by name. `pulse`: beaten by the supervisor's loop."""

    def __init__(self, probes: Mapping[str, str], pulse: Pulse) -> None:
        self._probes, self._pulse = dict(probes), pulse

    def live(self) -> Mapping[str, bool]:
        """Whether the workers are being looked after."""
        return {"supervising": self._pulse.silence_s <= STUCK_S}

    def ready(self) -> Mapping[str, bool]:
        """Each worker by name; one that was given up is not ready, and so neither is the whole."""
        with ThreadPoolExecutor(max_workers=len(self._probes)) as at_once:
            return dict(zip(self._probes, at_once.map(says_ready, self._probes.values()), strict=True))
