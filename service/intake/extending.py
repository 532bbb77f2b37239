"""A video gone on with: a new clip begins at its last frame, and both are served as one film."""

from collections.abc import Mapping

from pydantic import BaseModel, Field

from service.contracts.job import VideoJob
from service.contracts.model_spec import ModelSpec
from service.fields.aliases import in_our_words
from service.fields.references import Picture
from service.fields.video import PICTURE_FIELD, CreateVideo
from service.intake.admission import Accepted, Origin, checked_idempotency_key
from service.intake.intake import Intake
from service.intake.remix import asked_digest, inherited
from service.intake.sources import finished_source
from service.refusals import FieldFault, InvalidFields
from service.source_refusals import CannotExtend

#: Names the video to extend, in the body of OpenAI's route.
VIDEO = "video"
_FIXED = ("size", "fps")


class ExtendVideo(CreateVideo):
    """What an extension may say: a `prompt`, its own length, and whatever else shall differ. Size and frame
    rate are the old video's: both are shown as one."""


class VideoId(BaseModel):
    """OpenAI's way to name a video."""

    id: str


class ExtendNamedVideo(ExtendVideo):
    """The same where the body names the video."""

    video: VideoId | str = Field(description='The succeeded video: `{"id": ...}`, in a form `video[id]`.')


async def extend(
    intake: Intake,
    tenant: str,
    video_id: str,
    given: Mapping[str, object],
    picture: Picture | None,
    idempotency_key: str | None,
    repeat: bool | None = None,
) -> Accepted:
    """Accepts an extension of the succeeded video `video_id`; `given` needs `prompt`.

    `seconds` or `num_frames` is the length of the new clip alone, whose first frame is the old one's last and
    is shown once. A new seed is drawn; other values are the old video's unless named. Raises what a
    submission raises, and UnknownVideo, SourceNotReady or CannotExtend.
    """
    if picture is not None:
        raise InvalidFields(
            [FieldFault.of(PICTURE_FIELD, "a picture", "left out: an extension begins with the last frame")]
        )
    if given.get("prompt") is None:
        bound = "text: what happens next"
        raise InvalidFields([FieldFault("prompt", "", bound, f"prompt is required: {bound}")])
    key = checked_idempotency_key(idempotency_key)
    digest = asked_digest("extend", video_id, given, None)
    before = await intake.made_before(tenant, key, digest)
    if before is not None:
        return before
    source, film = await finished_source(intake, tenant, video_id, "extended")
    ours, _ = in_our_words(given, intake.aliases)
    model = ours.get("model") or source.request.model
    spec = next((e.spec for e in await intake.catalogue.now() if e.spec.name == model), None)
    if spec is not None:
        _check_ability(source, spec)
    fields = inherited(source, ours, spec) | _fixed(source, ours)
    for name in ("seed", "fit"):
        fields.pop(name, None)
    told = {name: value for name, value in given.items() if name not in _FIXED}
    origin = Origin(video_id, digest, film)
    return await intake.submit(tenant, fields | told, None, key, origin, repeat=repeat)


def _check_ability(source: VideoJob, spec: ModelSpec) -> None:
    """Only a clip that begins with its picture can begin where another one ends."""
    if spec.keyframe == "first" and spec.image_input:
        return
    why = (
        "makes its clips from the text alone"
        if spec.keyframe is None
        else f"takes its picture for the {spec.keyframe} frame of a clip, so none begins where another ends"
    )
    raise CannotExtend(
        f"{spec.name} {why}: the film would jump. A model with spec.keyframe first can extend (GET /models); "
        f"POST /videos/{source.id}/remix makes this video over"
    )


def _fixed(source: VideoJob, given: Mapping[str, object]) -> dict[str, object]:
    """Size and frame rate of the old video, as a client would write them."""
    old = source.request
    fixed: dict[str, object] = {"size": f"{old.width}x{old.height}", "fps": old.fps}
    faults = [
        FieldFault.of(name, given[name], f"{value} or left out: the old video's")
        for name, value in fixed.items()
        if given.get(name) is not None and str(given[name]).strip().lower() != str(value)
    ]
    if faults:
        raise InvalidFields(faults)
    return fixed


def named_video(given: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The id in `video` (`{"id": ...}`, in a form `video[id]`; the id alone will do), and the other fields.

    Raises InvalidFields.
    """
    left = {name: value for name, value in given.items() if name not in (VIDEO, f"{VIDEO}[id]")}
    named = given.get(f"{VIDEO}[id]", given.get(VIDEO))
    if isinstance(named, Mapping) and set(named) == {"id"}:
        named = named["id"]
    if not isinstance(named, str):
        raise InvalidFields(
            [FieldFault.of(VIDEO, named, '{"id": ...} of one of your videos; no file is taken')]
        )
    return named, left
