"""What a video's stream of events says, as the client hands it on. Fields not named here are kept."""

import base64
import binascii
from typing import Any, Literal, TypeAlias

from pydantic import field_validator

from service.client.answers import FINAL, Answered, Reproduction, Video
from service.client.errors import VideoError


class VideoEvent(Answered):
    """One thing that happened. `id` is the place to come back to.

    `stage`, `step` and `steps` are there while it runs; `frame_digest` when it has succeeded, and of a
    repetition the video that it repeats and what came of that.
    `type` is `video.queued`, `video.started`, `video.progress`, `video.keyframe_ready`, `video.completed`,
    `video.failed`, `video.cancelled`, or one that came after this client.
    """

    id: str
    type: str
    created_at: float
    video_id: str
    state: str
    status: str
    attempt: int = 0
    progress: int = 0
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    reason: str | None = None
    error: VideoError | None = None
    frame_digest: str | None = None
    reproduces_video_id: str | None = None
    reproduction: Reproduction | None = None

    @property
    def over(self) -> bool:
        """Whether it is the video's last event."""
        return self.status in FINAL

    def applied_to(self, video: Video) -> Video:
        """The same video further on: its state, its progress and its error as this event tells."""
        told = ("state", "status", "progress", "stage", "step", "steps", "error")
        return video.model_copy(update={name: getattr(self, name) for name in told})


class VideoPreview(Answered):
    """What the video looks like so far: `picture` is a WebP of `frames` frames (they move, if several).

    `shows` is `picture` (what the keyframe seems to become), `keyframe` (there it is, and is animated) or
    `video` (what its frames seem to become). Behind `step` of `steps` of that stage, 0 of 0 for the keyframe.
    It has no id, for it is never told again.
    """

    type: Literal["video.preview"] = "video.preview"
    created_at: float
    video_id: str
    attempt: int
    shows: str
    step: int
    steps: int
    width: int
    height: int
    frames: int
    picture: bytes

    @field_validator("picture", mode="before")
    @classmethod
    def _of_data_url(cls, sent: Any) -> Any:
        """The bytes of `data:image/webp;base64,...`. Raises ValueError."""
        if not isinstance(sent, str):
            return sent
        head, _, body = sent.partition(",")
        if head != "data:image/webp;base64":
            raise ValueError("must be a data URL of a WebP")
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise ValueError(f"must be base64: {error}") from None

    @property
    def over(self) -> bool:
        """Never."""
        return False


class VideoReset(Answered):
    """Events are lost, or none was asked for: the whole video, as it stands. The next event follows on it."""

    id: str
    type: Literal["reset"] = "reset"
    video: Video

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.video.over


Heard: TypeAlias = VideoEvent | VideoPreview | VideoReset
