"""Quotas of tenants' own, and what has been used of them. The rules are in lua/{quota,quotas,allowance}.lua.

Every command may be sent again after StoreUnavailable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.contracts.ids import NAME_PATTERN, is_name
from service.contracts.quota import Quota
from service.store.script import Command, Store

#: A number; or no limit at all; or what everybody has by the gateway's settings.
Limit: TypeAlias = float | Literal["none", "default"]

MOST = 1_000_000_000


@dataclass(frozen=True)
class Allowance:
    """A tenant's own limits (those it lacks are everybody's; "none" lifts one) and what it has used.

    Requests and GPU seconds are those of the window into which its last accepted job fell.
    """

    tenant: str
    limits: Mapping[Quota, float | Literal["none"]]
    used: Mapping[Quota, float]


@dataclass(frozen=True)
class QuotaStore:
    """What operators do with quotas, over a blocking client. May raise StoreUnavailable."""

    store: Store

    def set(self, tenant: str, limits: Mapping[Quota, Limit]) -> None:
        """Set these quotas of the tenant; the others stay as they are.

        Raises ValueError for what can be no tenant, and with the name, the value and the bound of a limit.
        """
        if not is_name(tenant):
            raise ValueError(f"tenant must match {NAME_PATTERN}, got {tenant!r}")
        for quota, limit in limits.items():
            if not isinstance(limit, str):
                _check(quota, limit)
        flat = (part for quota, limit in limits.items() for part in (quota.value, _told(limit)))
        self.store.run(Command("quota", (tenant, *flat), lambda _: None))

    def allowances(self, *tenants: str) -> tuple[Allowance, ...]:
        """Of these tenants, and of all that have quotas of their own, by name."""
        return self.store.run(
            Command("quotas", tenants, lambda reply: tuple(_allowance(*row) for row in sorted(reply)))
        )


def _check(quota: Quota, limit: float) -> None:
    whole = quota is not Quota.GPU_SECONDS
    if not 0 <= limit <= MOST or (whole and limit != int(limit)):
        kind = "a whole number of " if whole else ""
        raise ValueError(f"{quota} must be {kind}0 to {MOST:,}, none or default, got {limit:g}")


def _told(limit: Limit) -> str:
    return limit if isinstance(limit, str) else f"{limit:.6f}".rstrip("0").rstrip(".")


def _allowance(tenant: str, *row: str | int) -> Allowance:
    own = {quota: str(text) for quota, text in zip(Quota, row[:3], strict=True) if text}
    return Allowance(
        tenant,
        {quota: "none" if text == "none" else float(text) for quota, text in own.items()},
        {quota: float(number) for quota, number in zip(Quota, row[3:], strict=True)},
    )
