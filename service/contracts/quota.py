"""What an owner may use of the service before submissions are refused."""

from dataclasses import dataclass
from enum import StrEnum


class Quota(StrEnum):
    """requests: jobs accepted in a window. concurrent_jobs: accepted and not ended, those that await approval
    too. gpu_seconds: of a GPU in a window, by estimate until a job has ended."""

    REQUESTS = "requests"
    CONCURRENT_JOBS = "concurrent_jobs"
    GPU_SECONDS = "gpu_seconds"


@dataclass(frozen=True)
class Quotas:
    """Every owner's quotas where an operator set none of its own; None: no such quota.

    Windows begin at whole multiples of `window_s` since 1970 (86,400: at midnight UTC).
    """

    window_s: float = 86_400.0
    requests: int | None = None
    concurrent_jobs: int | None = None
    gpu_seconds: float | None = None


NO_QUOTAS = Quotas()


@dataclass(frozen=True)
class QuotaReached:
    """Why a job was not accepted: with it, `used` would pass `limit`.

    `resets_at` is the end of the window (Unix seconds); None for concurrent jobs, whose end makes room.
    `wanted` is what the job would have added.
    """

    quota: Quota
    used: float
    limit: float
    wanted: float
    resets_at: float | None

    @property
    def told(self) -> str:
        """It as a sentence."""
        used, limit = f"{self.used:.10g}", f"{self.limit:.10g}"
        match self.quota:
            case Quota.REQUESTS:
                return f"{used} of {limit} videos were accepted in this window"
            case Quota.CONCURRENT_JOBS:
                return f"{used} videos have not ended, {limit} may be in hand at once"
            case Quota.GPU_SECONDS:
                wanted = f"this video should take {self.wanted:.1f} GPU seconds"
                return f"{wanted}, and {self.used:.1f} of {limit} are used or set aside in this window"
