"""How a video came to be: all that decides about its frames, and what came of making it again."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.ids import ID_PATTERN, SHA256_PATTERN

#: The `psnr_db` of films whose decoded frames are equal. (One of a thousand million values off by one: 138.)
MAX_PSNR_DB = 150.0


class KeyframeOrigin(StrEnum):
    """painted: by stage 1. upload: the client's own picture. remix: another video's picture, taken over.
    extend: the last frame of the video that this one goes on with."""

    PAINTED = "painted"
    UPLOAD = "upload"
    REMIX = "remix"
    EXTEND = "extend"


class KeyframeReceipt(BaseModel):
    """The picture that stage 2 animated.

    `pixels_sha256` is of its uint8 pixels (H W C, RGB). `seed` is what it was painted from, None if it was
    not; `taken_from` the video that it comes from.
    """

    model_config = ConfigDict(frozen=True)

    origin: KeyframeOrigin
    pixels_sha256: str = Field(pattern=SHA256_PATTERN)
    seed: int | None = None
    taken_from: str | None = Field(default=None, pattern=ID_PATTERN)


class StageReceipt(BaseModel):
    """One network's part: its exact weights, the number format that it computes in, and its sampling.

    `sampler` None: the model's own, which nobody chooses.
    """

    model_config = ConfigDict(frozen=True)

    weight_hash: str
    dtype: str
    steps: int
    guidance_scale: float
    sampler: str | None = None


class Receipt(BaseModel):
    """What decided about the frames of a video; written by its worker when the last one was made.

    Prompts are those that the networks read. `stages` are by name, in order; a stage that was skipped is not
    there. `device_class` is what arithmetic depends on: the kind of GPU, or a processor's instruction set.
    `batch` videos went through stage 2 together; `resumed_after` steps of it were an earlier attempt's,
    perhaps on another device. `versions` are by name: of this service, of what computes, and the `recipe`,
    which counts changes of our own arithmetic. `frame_digest` as in Artifact.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    weight_hash: str
    prompt: str
    negative_prompt: str
    seed: int
    gamma: float
    width: int
    height: int
    frames: int
    fps: int
    stages: dict[str, StageReceipt]
    keyframe: KeyframeReceipt | None
    device: str
    device_class: str
    batch: int = Field(ge=1)
    resumed_after: int = Field(default=0, ge=0)
    versions: dict[str, str]
    frame_digest: str = Field(pattern=SHA256_PATTERN)


class Verdict(StrEnum):
    """equal: the frames are the original's, to the bit. different: they are not, though weights and device
    class are the same. incomparable: they are not, and that proves nothing."""

    EQUAL = "equal"
    DIFFERENT = "different"
    INCOMPARABLE = "incomparable"


class Reproduction(BaseModel):
    """What came of making a video again.

    `psnr_db` is between the two MP4s as they are stored, decoded alike: 10 log10(255^2 / MSE) over all R, G
    and B values of all frames, at most MAX_PSNR_DB; None where it was not needed or could not be measured.
    `changed` are the conditions that are others than the original's, by name.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    psnr_db: float | None = None
    changed: tuple[str, ...] = ()
    reason: str | None = None
