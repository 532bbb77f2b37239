"""What `microcinema up` and `demo` take from the environment, and the environment of their children."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, RedisDsn, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class StackSettings(BaseSettings):
    """Only what decides which children there are; each child reads its own settings itself."""

    model_config = SettingsConfigDict(env_prefix="MICROCINEMA_", extra="ignore", frozen=True)

    #: Where `up` keeps the record, the videos and the secrets.
    state_dir: Path = Path("var/state")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    #: Sent to a gateway that asks for keys.
    api_key: SecretStr | None = None
    #: The gateway's first key; without one `up` makes one where other machines can reach the gateway.
    bootstrap_key: SecretStr | None = None
    #: A Redis or Valkey to use; without one an embedded Valkey is started.
    redis_url: RedisDsn | None = Field(default=None, validation_alias="REDIS_URL")
    #: With several workers, the devices listed here are dealt out to them in turn: one process, one GPU.
    cuda_visible_devices: str | None = Field(default=None, validation_alias="CUDA_VISIBLE_DEVICES")


def child_environment(*, defaults: Mapping[str, str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Our own environment over `defaults` and under `fixed`: a variable that was set by hand is respected."""
    return {**defaults, **os.environ, **fixed}
