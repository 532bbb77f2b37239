"""What `microcinema-worker` takes from the environment beside the settings of each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.logs import LogFormat


class HostSettings(BaseSettings):
    """Which workers a host gets and where the whole of them answers; the workers read the rest themselves."""

    model_config = SettingsConfigDict(env_prefix="MICROCINEMA_", extra="ignore", frozen=True)

    #: "all", or devices by comma: a worker for each, looked after by `microcinema-worker`. Unset: one worker.
    gpus: str | None = None
    #: With several: a worker that is to end may go on for this long; then it gives back what it runs.
    stop_grace_s: float = Field(default=600.0, gt=0, le=86_400)
    #: Where the whole answers; its workers take the ports above.
    probe_host: str = "127.0.0.1"
    probe_port: int = Field(default=0, ge=0, le=65535)
    #: What `--gpus all` means, where somebody has chosen already.
    cuda_visible_devices: str = Field(default="", validation_alias="CUDA_VISIBLE_DEVICES")
    log_format: LogFormat = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


def worker_environment(*, defaults: Mapping[str, str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Our own environment over `defaults` and under `fixed`: a variable that was set by hand is respected."""
    return {**defaults, **os.environ, **fixed}
