"""What a client asks: one immutable noun, complete, with the seed already fixed."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.artifact import Upload
from service.contracts.ids import ID_PATTERN, NAME_PATTERN, SHA256_PATTERN
from service.contracts.receipt import Receipt

MAX_SEED = 2**32 - 1
MIN_PRIORITY, MAX_PRIORITY = -10, 10
MAX_METADATA_PAIRS = 16
MAX_CANDIDATES = 8


class Fit(StrEnum):
    """How a client's picture meets the model's size: as it is, filled and cut, or whole with borders."""

    EXACT = "exact"
    COVER = "cover"
    CONTAIN = "contain"


class PictureRef(BaseModel):
    """The client's own keyframe: a PNG, already stored, `width` x `height` pixels.

    `taken_from`: the video that a remix took it from; None: the client sent it, and `upload` is what it sent.
    """

    model_config = ConfigDict(frozen=True)

    key: str = Field(min_length=1, max_length=1024)
    sha256: str = Field(pattern=SHA256_PATTERN)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    fit: Fit = Fit.EXACT
    taken_from: str | None = Field(default=None, pattern=ID_PATTERN)
    upload: Upload | None = None

    def names(self, key: str) -> bool:
        """Whether `key` is this picture's, or that of the file that the client sent."""
        return self.key == key or (self.upload is not None and self.upload.key == key)


class KeyframeGate(BaseModel):
    """The job stops behind stage 1 and shows keyframes; its owner chooses within `approval_s` seconds.

    The candidate `i` is painted from the request's seed + i, so the first is the keyframe that the same
    request without a gate would have had.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    candidates: int = Field(default=1, ge=1, le=MAX_CANDIDATES)
    approval_s: float = Field(gt=0)


class SourceFilm(BaseModel):
    """The video that this one goes on with, copied: an MP4 of `frames` frames under the new job's own prefix.

    `video_id` is the old job, which may be gone by now.
    """

    model_config = ConfigDict(frozen=True)

    video_id: str = Field(pattern=ID_PATTERN)
    key: str = Field(min_length=1, max_length=1024)
    sha256: str = Field(pattern=SHA256_PATTERN)
    frames: int = Field(ge=1)


class Original(BaseModel):
    """The video that this one repeats: where its MP4 lies (it may be gone by the time it is looked for), how
    it came to be, and which of the keyframes of its gate was animated."""

    model_config = ConfigDict(frozen=True)

    video_id: str = Field(pattern=ID_PATTERN)
    key: str = Field(min_length=1, max_length=1024)
    receipt: Receipt
    candidate: int = Field(default=0, ge=0, lt=MAX_CANDIDATES)


class VideoRequest(BaseModel):
    """A whole request, every default filled in.

    The bounds here hold for any model; those of one model (sizes, frames, steps, ...) are its ModelSpec's and
    are checked at intake. `num_frames` at `fps` frames per second is the clip's length; `film_frames` is that
    of the film, to which an extension (`extends`) adds all frames of its clip but the first. `gamma` is the
    strength of the Appearance Noise Prior at sampling (MicroCinema, section 3.3; 0 switches it off).
    `asked_as` is what the client wrote in place of these values, by field, where an alias stood for ours.
    A higher `priority` runs earlier among the tenant's own jobs. `remixed_from` is the video that a remix was
    made of, which may be gone by now. `reproduces` is the video that this one is to be equal to.
    `webhook_events` are the types of events that `webhook_url` hears of; none: all.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    negative_prompt: str = ""
    model: str = Field(pattern=NAME_PATTERN)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    num_frames: int = Field(ge=1)
    fps: int = Field(ge=1)
    seed: int = Field(ge=0, le=MAX_SEED)
    num_inference_steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=0)
    gamma: float = Field(ge=0)
    sampler: str = Field(min_length=1)
    priority: int = Field(default=0, ge=MIN_PRIORITY, le=MAX_PRIORITY)
    input_picture: PictureRef | None = None
    gate: KeyframeGate | None = None
    remixed_from: str | None = Field(default=None, pattern=ID_PATTERN)
    extends: SourceFilm | None = None
    reproduces: Original | None = None
    asked_as: dict[str, str] = Field(default_factory=dict)
    webhook_url: str | None = Field(default=None, max_length=2048)
    webhook_events: tuple[str, ...] = ()
    metadata: dict[
        Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]
    ] = Field(default_factory=dict, max_length=MAX_METADATA_PAIRS)

    @property
    def film_frames(self) -> int:
        """Frames of the video that the client gets."""
        return self.num_frames if self.extends is None else self.extends.frames + self.num_frames - 1


def candidate_seed(request: VideoRequest, index: int) -> int:
    """What the keyframe candidate `index` is painted from: the request's seed for the first, and so on."""
    return (request.seed + index) % (MAX_SEED + 1)
