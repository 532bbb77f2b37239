"""Every switch of the gateway, read from the environment here and nowhere else."""

from collections.abc import Callable
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.browsers import read_origins
from service.contracts.environment import LeaseSeconds
from service.contracts.quota import Quotas
from service.fields.aliases import Alias, read_aliases
from service.logs import LogFormat
from service.rates import read_rates
from service.ssrf import origin_of

DAY_S = 24 * 3600
#: What counts and rates are bounded by: beyond it a number is a slip of the pen, not a wish.
_MOST = 10**9
#: Compose files set what nobody filled in to nothing.
_EMPTY_IS_UNSET = BeforeValidator(lambda value: None if value == "" else value)


def _readable_by(read: Callable[[str], object]) -> AfterValidator:
    """The text stays as it is, and is refused in the words of whoever will read it."""

    def check(text: str | None) -> str | None:
        if text:
            read(text)
        return text

    return AfterValidator(check)


def _own_origins(text: str) -> frozenset[str]:
    return frozenset(_origin(each) for each in text.split())


def _origin(text: str) -> str:
    try:
        url = httpx.URL(text)
        origin = origin_of(url)
    except (httpx.InvalidURL, UnicodeError):
        url, origin = httpx.URL(), ""
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.raw_path != b"/":
        raise ValueError(f"{text!r} must be an origin such as http://minio:9000")
    return origin


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
    #: Foreign models' names, sizes and lengths that stand for ours, as JSON (fields/aliases.py): none.
    aliases: Annotated[dict[str, Alias], NoDecode, BeforeValidator(read_aliases)] = {}
    #: Jobs that may wait in one pool; more are answered 429.
    queue_limit: int = Field(default=1000, ge=1, le=_MOST)
    #: What every owner may use unless an operator set it something else (`microcinema tenant quota`); unset:
    #: as much as it likes. Accepted jobs and GPU seconds count per window.
    quota_requests: Annotated[int | None, _EMPTY_IS_UNSET] = Field(default=None, ge=0, le=_MOST)
    quota_concurrent_jobs: Annotated[int | None, _EMPTY_IS_UNSET] = Field(default=None, ge=0, le=_MOST)
    quota_gpu_seconds: Annotated[float | None, _EMPTY_IS_UNSET] = Field(default=None, ge=0, le=_MOST)
    quota_window_s: float = Field(default=DAY_S, ge=60, le=366 * DAY_S)
    #: How often one caller (an API key, or an address where keys are off) may ask, as in
    #: `20/second;1200/minute`. Unset: 1200/minute, or any number on loopback; none: any number everywhere.
    rate_limits: Annotated[str | None, _readable_by(read_rates)] = None
    #: Sites whose pages may ask from a browser: origins parted by spaces, or *. Empty: none but our own page.
    cors_origins: Annotated[str, _readable_by(read_origins)] = ""
    #: Tells browsers to come by https alone for so many seconds; 0: not at all.
    hsts_s: int = Field(default=0, ge=0, le=2 * 366 * DAY_S)
    #: How long record, prompt and files of an ended job stay; at most ten years.
    retention_s: float = Field(default=7 * DAY_S, gt=0, le=3660 * DAY_S)
    #: How long a job waits for its keyframe to be approved, where its request names no time.
    approval_s: float = Field(default=DAY_S, ge=60, le=7 * DAY_S)
    #: No extension makes a film longer than this.
    extended_max_s: float = Field(default=120.0, gt=0, le=3600)
    #: Webhook endpoints that one owner may have.
    webhook_endpoints: int = Field(default=10, ge=0, le=100)
    #: Lets webhooks lead to private and loopback addresses. The notifier reads it too, at every try.
    webhook_allow_private: bool = False
    #: Longest request body, pictures included.
    max_upload_bytes: int = Field(default=16 * 1024**2, ge=1024, le=1024**3)
    #: Longest JSON body, and longest text of a form without its picture. All fields at their longest
    #: stay far below, but for a picture as data URL; reading much more would keep every other client waiting.
    max_text_bytes: int = Field(default=1024**2, ge=1024, le=1024**3)
    #: Pictures that are fetched from clients' URLs at a time; 0: none is, clients have to send the file.
    picture_fetches: int = Field(default=16, ge=0, le=256)
    #: Bounds one fetch as a whole, from the look-up of the name to the last byte.
    picture_fetch_timeout_s: float = Field(default=10.0, gt=0, le=60)
    #: Origins of your own, parted by spaces (`http://minio:9000 https://pictures.corp`): only these may have
    #: private addresses, another port than 443, or plain http.
    picture_origins: Annotated[str, _readable_by(_own_origins)] = ""
    #: A body must be complete within this time.
    upload_timeout_s: float = Field(default=60.0, gt=0, le=DAY_S)
    #: From then on it must have come at `upload_least_rate` bytes a second, on average; 0: at any rate.
    upload_grace_s: float = Field(default=5.0, gt=0, le=DAY_S)
    upload_least_rate: float = Field(default=8192.0, ge=0, le=_MOST)
    #: A connection must bring the whole head of a request within this time.
    head_timeout_s: float = Field(default=10.0, gt=0, le=DAY_S)
    #: A client must take each piece of an answer (256 KiB of a file) within this time, or it is cut off.
    send_timeout_s: float = Field(default=30.0, gt=0, le=DAY_S)
    #: How long a connection may rest between two requests. Longer than the 60 s of usual load balancers,
    #: which would otherwise send a request down a connection that is just being closed.
    keep_alive_s: int = Field(default=75, ge=1, le=DAY_S)
    #: Requests that one process works on at a time; more are answered 503.
    max_concurrent_requests: int = Field(default=256, ge=1, le=50_000)
    #: How long the signed links in a job stay good.
    link_ttl_s: int = Field(default=3600, ge=1, le=7 * DAY_S)
    #: `/videos/{id}/content`: stream through the gateway, or send the client to a signed link (302).
    content: Literal["proxy", "redirect"] = "proxy"
    #: What polling clients are told to wait between two looks (milliseconds).
    poll_after_ms: int = Field(default=1000, ge=10, le=DAY_S * 1000)
    #: Streams of events that one process keeps open, in all and of one owner; more are answered 429.
    listeners: int = Field(default=1000, ge=0, le=50_000)
    listeners_per_owner: int = Field(default=500, ge=0, le=50_000)
    #: A stream of events without news says so this often, so that no proxy takes it for dead.
    heartbeat_s: float = Field(default=15.0, ge=0.01, le=300)
    #: A worker silent for this long has lost its jobs; the workers must use the same number.
    lease_s: LeaseSeconds = 15.0
    log_format: LogFormat = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def quotas(self) -> Quotas:
        """The quotas of an owner that has none of its own."""
        return Quotas(
            self.quota_window_s, self.quota_requests, self.quota_concurrent_jobs, self.quota_gpu_seconds
        )

    def own_origins(self) -> frozenset[str]:
        """`picture_origins` as `origin_of` writes them."""
        return _own_origins(self.picture_origins)
