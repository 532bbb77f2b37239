"""Where Redis is. Read from the environment only here."""

from typing import Annotated

from pydantic import Field, RedisDsn
from pydantic_settings import BaseSettings, SettingsConfigDict


class RedisSettings(BaseSettings):
    """REDIS_URL has no default: a gateway or worker that guesses its Redis loses jobs quietly.

    `timeout_s` bounds the wait for a connection and for each answer (seconds).
    """

    model_config = SettingsConfigDict(env_prefix="MICROCINEMA_REDIS_", extra="ignore", frozen=True)

    url: Annotated[RedisDsn, Field(validation_alias="REDIS_URL")]
    timeout_s: float = Field(default=1.0, ge=0.01, le=60)
