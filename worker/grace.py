"""How long a worker may show no sign of life before it counts as hung."""

from __future__ import annotations

from worker.device.plan import MemoryPlan

LEAST_GRACE_S = 120.0
"""Longer than a storage takes to give one call up (S3: about 100 seconds), and than the loop idles."""

# Floating-point operations a second that the slowest device reaches which somebody would serve on. A small
# GPU, fp16, under a video network: a fifth to a tenth of what its data sheet promises. A CPU: one busy core.
_SLOWEST_GPU, _SLOWEST_HOST = 10e12, 5e9


def hang_grace_s(plan: MemoryPlan, asked_s: float | None) -> float:
    """Seconds: `asked_s` if somebody has set it, else what the model's longest piece takes on a slow device.

    The piece is counted (one step at the largest size and length, or a whole clip through the autoencoder of
    a pipeline that says nothing meanwhile), the device is the slowest of its kind: a worker that is only slow
    must not end itself, and one that hangs is found as soon as that allows.
    """
    if asked_s is not None:
        return asked_s
    slowest = _SLOWEST_HOST if plan.device.is_host else _SLOWEST_GPU
    return LEAST_GRACE_S + plan.work / slowest
