"""On Kubernetes: which pods may go first when there are to be fewer.

A Deployment that shrinks takes pods of the least `controller.kubernetes.io/pod-deletion-cost` first. A worker
keeps that annotation of its own pod: dear while it holds jobs, cheap while it has none.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from service.logs import get_logger
from worker.rhythm import Rhythm
from worker.settings import WorkerSettings

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
IDLE, BUSY = 0, 100
LOOK_EVERY_S = 2.0
#: Between two jobs a worker is not idle: the API server is not to hear of every short video (s).
IDLE_AFTER_S = 20.0
#: A refusal (no rights, no such pod) is not asked again at once.
RETRY_AFTER_S = 30.0
TIMEOUT_S = 3.0

log = get_logger("worker")


@dataclass(frozen=True)
class PodAnnotations:
    """One pod's annotations over the cluster's API, as its service account may change them.

    `account` is the folder with `token`, `ca.crt` and `namespace`. The token is read anew at every call: the
    kubelet replaces it within the hour.
    """

    host: str
    port: int
    pod: str
    account: Path

    def set(self, name: str, value: str) -> None:
        """Merge one annotation into the pod's. Raises OSError: no answer, no file, or a refusal."""
        token = (self.account / "token").read_text(encoding="utf-8").strip()
        namespace = (self.account / "namespace").read_text(encoding="utf-8").strip()
        host = f"[{self.host}]" if ":" in self.host else self.host
        request = Request(
            f"https://{host}:{self.port}/api/v1/namespaces/{namespace}/pods/{self.pod}",
            data=json.dumps({"metadata": {"annotations": {name: value}}}).encode(),
            method="PATCH",
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/merge-patch+json",
                "Accept": "application/json",
            },
        )
        trust = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        # No proxy of the environment: the token is for the API server alone.
        with build_opener(ProxyHandler({}), HTTPSHandler(context=trust)).open(request, timeout=TIMEOUT_S):
            pass


class DeletionCost:
    """Keeps the annotation in a thread of its own; trouble costs a line in the log, never a job."""

    def __init__(
        self,
        annotations: PodAnnotations | None,
        held: Callable[[], Sequence[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._annotations, self._held, self._clock = annotations, held, clock
        self._told: int | None = None
        self._busy_at = -float("inf")
        self._ask_again_at = -float("inf")
        self._well = True
        self._rhythm = Rhythm("deletion-cost", LOOK_EVERY_S, self.look)

    def start(self) -> None:
        """Begin; outside a cluster there is nothing to keep."""
        if self._annotations is not None:
            self._rhythm.start()

    def stop(self) -> None:
        """Stop looking; the pod goes anyway."""
        self._rhythm.stop()

    def look(self) -> None:
        """Tell the cluster if it has changed what this pod is worth."""
        now = self._clock()
        if self._held():
            self._busy_at = now
        cost = BUSY if now - self._busy_at < IDLE_AFTER_S else IDLE
        if self._annotations is None or cost == self._told or now < self._ask_again_at:
            return
        try:
            self._annotations.set(ANNOTATION, str(cost))
        except OSError as error:
            self._ask_again_at = now + RETRY_AFTER_S
            if self._well:
                log.warning("pod_deletion_cost_not_told", cost=cost, reason=_reason(error))
            self._well = False
            return
        self._told, self._well = cost, True


def open_deletion_cost(settings: WorkerSettings, held: Callable[[], Sequence[object]]) -> DeletionCost:
    """Nothing is kept unless the pod's name is set and a cluster's API is announced."""
    if not settings.pod_name or not settings.kubernetes_host:
        return DeletionCost(None, held)
    place = (settings.kubernetes_host, settings.kubernetes_port, settings.pod_name, settings.pod_account)
    return DeletionCost(PodAnnotations(*place), held)


def _reason(error: OSError) -> str:
    if isinstance(error, HTTPError):
        return f"the API server answers {error.code}: may the service account patch pods?"
    return str(error) or type(error).__name__
