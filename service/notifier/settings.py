"""What the notifier reads from its environment."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.contracts.environment import LeaseSeconds
from service.logs import LogFormat
from service.notifier.backoff import DEFAULT_DELAYS_S
from service.notifier.signing import Signer
from service.store.deliveries import PATIENCE_S

_DAY_S = 24 * 3600.0

Seconds = Annotated[float, Field(gt=0, le=30 * _DAY_S, allow_inf_nan=False)]


def _signer(secret: SecretStr) -> Signer:
    """ValueError says what is wrong with one of the secrets, without showing it."""
    return Signer(tuple(secret.get_secret_value().split()))


def _signs(secret: SecretStr) -> SecretStr:
    _signer(secret)
    return secret


def _from_json(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot be read as JSON: {error}") from None


class NotifierSettings(BaseSettings):
    """Every name carries the prefix MICROCINEMA_; seconds end in _S."""

    model_config = SettingsConfigDict(env_prefix="MICROCINEMA_", extra="ignore", frozen=True)

    #: `whsec_` + base64 of 24 to 64 bytes; while receivers change theirs: several, newest first, by spaces.
    webhook_secret: Annotated[SecretStr, AfterValidator(_signs)]
    #: Lets webhooks go to private and loopback addresses: for a closed network, never for strangers' URLs.
    webhook_allow_private: bool = False
    #: Bounds one try as a whole.
    webhook_timeout_s: float = Field(default=15.0, gt=0, le=120)
    #: Waits behind the failed tries, as JSON; behind the last the delivery is a dead letter.
    webhook_delays_s: Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_from_json)] = DEFAULT_DELAYS_S
    #: Tries at once in this process, and to one host.
    webhook_slots: int = Field(default=32, ge=1, le=1000)
    webhook_slots_per_endpoint: int = Field(default=4, ge=1, le=1000)
    #: How long the record of an ended delivery stays.
    webhook_keep_s: Seconds = 7 * _DAY_S
    #: An owner's endpoint that fails for this long without one success is disabled.
    webhook_disable_after_s: Seconds = PATIENCE_S
    webhook_relay_every_s: float = Field(default=0.25, ge=0.01, le=60)

    #: The workers' lease: what an attempt that is over left behind is looked at after ten of them.
    lease_s: LeaseSeconds = 15.0
    janitor_every_s: float = Field(default=10.0, ge=0.01, le=30 * _DAY_S)
    janitor_sweep_every_s: float = Field(default=600.0, ge=0.01, le=30 * _DAY_S)

    #: Prometheus metrics of this process; port 0 is off.
    notifier_metrics_host: str = "127.0.0.1"
    notifier_metrics_port: int = Field(default=0, ge=0, le=65535)
    log_format: LogFormat = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def signer(self) -> Signer:
        """Signs with the secrets given."""
        return _signer(self.webhook_secret)
