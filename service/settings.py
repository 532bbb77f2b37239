"""Every switch of the gateway, read from the environment here and nowhere else."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.logs import LogFormat

DAY_S = 24 * 3600


class GatewaySettings(BaseSettings):
    """Names carry the prefix MICROCINEMA_ in the environment; times are seconds, sizes bytes.

    REDIS_URL and the storage settings have their own places: service/store and service/storage.
    """

    model_config = SettingsConfigDict(env_prefix="MICROCINEMA_", extra="ignore", frozen=True)

    #: The address to listen on; anything but this machine must be asked for.
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    #: Every request must bring an API key. Always so when `host` can be reached from other machines.
    require_keys: bool = False
    #: A secret that is made a key for the owner `default` (all scopes) at start; at least 32 characters.
    bootstrap_key: SecretStr | None = Field(default=None, min_length=32)
    #: Jobs that may wait in one pool; more are answered 429.
    queue_limit: int = Field(default=1000, ge=1)
    #: How long record, prompt and files of an ended job stay.
    retention_s: float = Field(default=7 * DAY_S, gt=0)
    #: How long a job waits for its keyframe to be approved, where its request names no time.
    approval_s: float = Field(default=DAY_S, ge=60, le=7 * DAY_S)
    #: Webhook endpoints that one owner may have.
    webhook_endpoints: int = Field(default=10, ge=0, le=100)
    #: Lets webhook endpoints lie at private and loopback addresses. The notifier reads it too, at every try.
    webhook_allow_private: bool = False
    #: Longest request body, pictures included.
    max_upload_bytes: int = Field(default=16 * 1024**2, ge=1024)
    #: Longest JSON body, and longest text of a form without its picture. JSON carries no picture, so even all
    #: fields at their longest stay far below; reading much more would keep every other client waiting.
    max_text_bytes: int = Field(default=1024**2, ge=1024)
    #: A body must be complete within this time.
    upload_timeout_s: float = Field(default=60.0, gt=0)
    #: A connection must bring the whole head of a request within this time.
    head_timeout_s: float = Field(default=10.0, gt=0)
    #: A client must take each piece of an answer (256 KiB of a file) within this time, or it is cut off.
    send_timeout_s: float = Field(default=30.0, gt=0)
    #: How long a connection may rest between two requests. Longer than the 60 s of usual load balancers,
    #: which would otherwise send a request down a connection that is just being closed.
    keep_alive_s: int = Field(default=75, ge=1)
    #: Requests that one process works on at a time; more are answered 503.
    max_concurrent_requests: int = Field(default=256, ge=1)
    #: How long the signed links in a job stay good.
    link_ttl_s: int = Field(default=3600, ge=1, le=7 * DAY_S)
    #: `/videos/{id}/content`: stream through the gateway, or send the client to a signed link (302).
    content: Literal["proxy", "redirect"] = "proxy"
    #: What polling clients are told to wait between two looks (milliseconds).
    poll_after_ms: int = Field(default=1000, ge=10)
    #: A worker silent for this long has lost its jobs; the workers must use the same number. At least 3: the
    #: sweep turns once a second and takes a gap of half a lease for an outage; below 2 it would never reap.
    lease_s: float = Field(default=15.0, ge=3, le=3600)
    log_format: LogFormat = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
