"""Every switch of a worker, read from the environment here and nowhere else in worker/."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contracts.environment import LeaseSeconds
from service.contracts.ids import NAME_PATTERN
from service.logs import LogFormat


def shipped_weights() -> Path:
    """The micro model that comes with the package."""
    return Path(str(files("models"))) / "micro"


#: No wait is longer: timers of the system do not take every number.
_MONTH_S = 30 * 24 * 3600.0
_SIZES = r"^[1-9]\d{0,4}x[1-9]\d{0,4}(,[1-9]\d{0,4}x[1-9]\d{0,4})*$"


class WorkerSettings(BaseSettings):
    """Names carry the prefix MICROCINEMA_ in the environment; times are seconds.

    REDIS_URL, the storage settings and CUDA_VISIBLE_DEVICES keep their own names and places.
    """

    model_config = SettingsConfigDict(env_prefix="MICROCINEMA_", extra="ignore", frozen=True)

    #: The model to serve, a MicroCinema or a public video pipeline of diffusers: a folder, s3://bucket/prefix
    #: or a hub id. `worker.weights.source` makes a folder of it before it is loaded.
    weights: Path = Field(default_factory=shipped_weights)
    #: A text-to-image pipeline of diffusers that paints the keyframes in place of its own; named alike.
    picture_model: Path | None = None
    #: Where models from buckets and the hub are kept; several workers of a machine may share it.
    weights_cache: Path = Path("~/.cache/microcinema/weights")
    #: The name under which clients ask for the model; left out, a MicroCinema's own or the folder's.
    model_name: str | None = Field(default=None, pattern=NAME_PATTERN)
    #: For public pipelines: the sizes to offer, as in "1024x576,576x1024", in place of the family's own.
    sizes: str | None = Field(default=None, pattern=_SIZES)
    #: "auto" takes the GPU when there is one.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: The set of workers that this one belongs to; it listens to the queue gpu-<pool>.
    pool: str = Field(default="default", pattern=NAME_PATTERN)
    #: Jobs of one compat key that may share a run. 1 makes each job's frames repeat to the bit.
    max_batch: int = Field(default=1, ge=1, le=64)
    #: A worker silent for this long has lost its jobs; the gateway's sweep must use the same number.
    lease_s: LeaseSeconds = 15.0
    #: How often leases are renewed.
    beat_s: float = Field(default=3.0, ge=0.01)
    #: No step, frame or turn of the loop for this long: the process is hung and ends itself.
    #: Left out, worker.grace derives it from what the model's longest step was counted to take.
    hang_grace_s: float | None = Field(default=None, gt=0, le=_MONTH_S)
    #: One attempt may run this long; beyond it the job fails with deadline_exceeded.
    attempt_limit_s: float = Field(default=3600.0, gt=0, le=_MONTH_S)
    #: How often at most a clip that is being denoised is stored, for another attempt to go on from there.
    checkpoint_every_s: float = Field(default=10.0, ge=0, le=3600)
    #: The most bytes of a small picture of a video that is being made, for who listens; 0: none are made.
    preview_bytes: int = Field(default=16 * 1024, ge=0, le=64 * 1024)
    #: How often at most one video is looked at.
    preview_every_s: float = Field(default=1.0, ge=0.1, le=60)
    #: How long after a first SIGTERM what runs may go on before it is given back, kept as it stands; unset:
    #: to its end. Shorter than the time to SIGKILL by a step and a few seconds at least.
    drain_grace_s: float | None = Field(default=None, ge=0, le=_MONTH_S)
    #: How long a storage that answers may refuse a rendered video, before its job goes back to the queue.
    #: One that is away is waited for.
    upload_patience_s: float = Field(default=300.0, ge=0, le=_MONTH_S)
    #: Where rendered videos wait for the storage; a local folder.
    spool_dir: Path = Path("~/.cache/microcinema/spool")
    #: When so many videos wait, or so many bytes, nothing more is claimed (bytes: 1 MiB to 1 TiB).
    spool_videos: int = Field(default=32, ge=1, le=1000)
    spool_bytes: int = Field(default=1024**3, ge=1024**2, le=1024**4)
    #: A worker that is to end goes on offering what waits for this long, then hands it back.
    spool_drain_s: float = Field(default=20.0, ge=0, le=3600)
    #: Films carry C2PA content credentials. Without a chain and key of your own: by a certificate that is
    #: made in `credentials_dir` and that nobody else trusts.
    credentials: bool = True
    credentials_dir: Path = Path("~/.cache/microcinema/credentials")
    #: PEM: the signer's certificate with those above it, and its unencrypted key. Both or neither.
    credentials_chain: Path | None = None
    credentials_key: Path | None = None
    #: Which checkers judge prompts, and which keyframes: names parted by comma (worker/checkers/opening.py).
    prompt_checkers: str = ""
    keyframe_checkers: str = ""
    #: For the prompt checker `words`: a file with a word or phrase a line.
    prompt_words: Path | None = None
    #: For the keyframe checker `open_nsfw`: the least score that is refused.
    open_nsfw_threshold: float = Field(default=0.5, gt=0, le=1)
    #: Where /livez, /readyz and /metrics listen; port 0 takes a free one and logs it.
    probe_host: str = "127.0.0.1"
    probe_port: int = Field(default=0, ge=0, le=65535)
    #: The devices that this process may see; torch reads it too, here it only helps to name the worker.
    cuda_visible_devices: str = Field(default="", validation_alias="CUDA_VISIBLE_DEVICES")
    #: On Kubernetes: this worker's pod, whose deletion cost it keeps (worker/pod.py). Unset: none is kept.
    pod_name: str | None = None
    #: Where the service account's token, CA and namespace are mounted.
    pod_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    #: The cluster's API, as the kubelet announces it.
    kubernetes_host: str = Field(default="", validation_alias="KUBERNETES_SERVICE_HOST")
    kubernetes_port: int = Field(default=443, ge=1, le=65535, validation_alias="KUBERNETES_SERVICE_PORT")
    log_format: LogFormat = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def offered_sizes(self) -> tuple[tuple[int, int], ...] | None:
        """`sizes` as (width, height) in pixels, the default first."""
        if self.sizes is None:
            return None
        pairs = [size.split("x") for size in self.sizes.split(",")]
        return tuple((int(width), int(height)) for width, height in pairs)

    @field_validator("picture_model", "credentials_chain", "credentials_key", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: object) -> object:
        """A compose file can leave a variable empty, but not out."""
        return None if given == "" else given

    @field_validator("weights", mode="before")
    @classmethod
    def _empty_is_shipped(cls, given: object) -> object:
        return shipped_weights() if given == "" else given

    @model_validator(mode="after")
    def _chain_and_key(self) -> Self:
        if (self.credentials_chain is None) != (self.credentials_key is None):
            raise ValueError(
                "MICROCINEMA_CREDENTIALS_CHAIN and MICROCINEMA_CREDENTIALS_KEY must be set both or neither"
            )
        return self

    @model_validator(mode="after")
    def _beats_fit_the_lease(self) -> Self:
        if self.beat_s * 3 > self.lease_s:
            raise ValueError(
                f"MICROCINEMA_BEAT_S={self.beat_s} must be at most a third of "
                f"MICROCINEMA_LEASE_S={self.lease_s}: "
                "two lost beats must not cost a job"
            )
        return self
