"""The rules of quotas as plain Python, for the model of the store."""

from dataclasses import dataclass, field
from typing import Any

from service.contracts.quota import Quotas

SECOND = 1_000_000
#: Everybody's in the stories of the state machine: small enough that each is met.
QUOTAS = Quotas(window_s=60, requests=9, concurrent_jobs=4, gpu_seconds=40.0)


@dataclass
class QuotaRules:
    """`used` by tenant: the window, accepted jobs and GPU time (SECOND a second) in it."""

    now: float
    used: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def window(self) -> int:
        return int(self.now // QUOTAS.window_s)

    def used_by(self, tenant: str) -> tuple[int, int, int]:
        used = self.used.get(tenant)
        return used if used and used[0] == self.window else (self.window, 0, 0)

    def passed(self, tenant: str, in_hand: int, gpu: int) -> str | None:
        """The quota that a job of so much GPU time would pass."""
        _, requests, spent = self.used_by(tenant)
        if in_hand >= QUOTAS.concurrent_jobs:
            return "concurrent_jobs"
        if requests >= QUOTAS.requests:
            return "requests"
        return "gpu_seconds" if spent + gpu > QUOTAS.gpu_seconds * SECOND else None

    def count(self, job: Any, gpu: int) -> None:
        job.reserved, job.window = gpu, self.window
        _, requests, spent = self.used_by(job.tenant)
        self.used[job.tenant] = (self.window, requests + 1, spent + gpu)

    def account(self, job: Any, gpu: int) -> None:
        """What the job took in place of what was set aside, as long as its window is the tenant's last."""
        window, requests, spent = self.used[job.tenant]
        if window == job.window:
            self.used[job.tenant] = (window, requests, spent + gpu - job.reserved)
        job.reserved = gpu
