"""`microcinema tenant quota`: what owners may use, and what they have used."""

import argparse

from redis import Redis

from service.contracts.quota import Quota
from service.store.quotas import Allowance, Limit, QuotaStore
from service.store.script import Store

_FLAGS = {
    Quota.REQUESTS: ("--requests", "videos accepted in a window"),
    Quota.CONCURRENT_JOBS: ("--concurrent-jobs", "videos that have not ended"),
    Quota.GPU_SECONDS: ("--gpu-seconds", "of a GPU in a window"),
}


def add_quota_flags(parser: argparse.ArgumentParser) -> None:
    """The tenant, and a flag for each quota."""
    parser.add_argument("tenant", nargs="?", metavar="NAME", help="show, or set, this tenant's")
    for quota, (flag, text) in _FLAGS.items():
        parser.add_argument(
            flag, dest=quota.value, type=_limit, metavar="N", help=f"{text}: a number, none, or default"
        )


def tend_quotas(redis: Redis, chosen: argparse.Namespace) -> int:
    """Sets what is given and prints the tenant's quotas; without a tenant, all that have some of their own.

    Raises ValueError for a limit out of its bound, and for limits of nobody.
    """
    quotas = QuotaStore(Store(redis))
    given = {quota: limit for quota in Quota if (limit := getattr(chosen, quota.value)) is not None}
    if given and chosen.tenant is None:
        raise ValueError(f"tenant quota: name the tenant whose {', '.join(given)} should be set")
    if given:
        quotas.set(chosen.tenant, given)
    for allowance in quotas.allowances(*([] if chosen.tenant is None else [chosen.tenant])):
        if chosen.tenant in (None, allowance.tenant):
            print(_line(allowance))
    return 0


def _line(allowance: Allowance) -> str:
    parts = []
    for quota in Quota:
        limit = allowance.limits.get(quota, "default")
        shown = limit if isinstance(limit, str) else f"{limit:.10g}"
        parts.append(f"{quota.replace('_', ' ')} {allowance.used[quota]:.10g} of {shown}")
    return "  ".join((allowance.tenant, *parts))


def _limit(text: str) -> Limit:
    match text:
        case "none":
            return "none"
        case "default":
            return "default"
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, none or default, got {text!r}") from None
