"""A video made over: everything as it was, down to the seed, but what the client says anew."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.contracts.job import VideoJob
from service.contracts.model_spec import ModelSpec
from service.fields.references import Picture, picture_digest
from service.fields.video import CreateVideo
from service.intake.admission import Accepted, Origin, checked_idempotency_key
from service.intake.intake import Intake
from service.intake.sources import finished_source
from service.refusals import FieldFault, InvalidFields, NoContent

#: Asks that the new video be animated from the old one's keyframe instead of a new one.
KEEP_KEYFRAME = "keep_keyframe"
_SPOKEN = {True: True, False: False, "true": True, "false": False, None: False}


async def remix(
    intake: Intake,
    tenant: str,
    video_id: str,
    given: Mapping[str, object],
    picture: Picture | None,
    idempotency_key: str | None,
    repeat: bool | None = None,
) -> Accepted:
    """Accepts a video like the succeeded one `video_id`; `given` needs `prompt` and may hold any other field.

    Length, size, seed, sampling, priority, webhook and the client's own picture are the old video's; metadata
    and deadlines are not. Raises what a submission raises, and UnknownVideo, SourceNotReady or NoContent.
    """
    told = {name: value for name, value in given.items() if name != KEEP_KEYFRAME}
    keep = _asked_to_keep(given.get(KEEP_KEYFRAME), picture)
    if told.get("prompt") is None:
        bound = "text: what is to be different"
        raise InvalidFields([FieldFault("prompt", "", bound, f"prompt is required: {bound}")])
    key = checked_idempotency_key(idempotency_key)
    digest = asked_digest("remix", video_id, given, picture)
    before = await intake.made_before(tenant, key, digest)
    if before is not None:
        return before
    source, _ = await finished_source(intake, tenant, video_id, "remixed")
    spec = next((e.spec for e in await intake.catalogue.now() if e.spec.name == source.request.model), None)
    fields = inherited(source, told, spec)
    origin = Origin(video_id, digest)
    if picture is None:
        picture = await _picture_of(intake, source, keep)
        origin = replace(origin, picture=picture is not None)
        if keep:
            fields.pop("fit", None)
    return await intake.submit(tenant, fields | told, picture, key, origin, repeat=repeat)


def _asked_to_keep(value: object, picture: Picture | None) -> bool:
    if not isinstance(value, bool | str | None) or value not in _SPOKEN:
        raise InvalidFields([FieldFault.of(KEEP_KEYFRAME, value, "true or false")])
    if _SPOKEN[value] and picture is not None:
        raise InvalidFields([FieldFault.of(KEEP_KEYFRAME, value, "left out beside a picture of your own")])
    return _SPOKEN[value]


def inherited(source: VideoJob, told: Mapping[str, object], spec: ModelSpec | None) -> dict[str, object]:
    """The old video's fields as a client would write them, but those that the new ones speak of otherwise."""
    old = source.request
    fields: dict[str, Any] = {
        "model": old.model,
        "size": f"{old.width}x{old.height}",
        "fps": old.fps,
        "seed": old.seed,
        "negative_prompt": old.negative_prompt or None,
        "num_inference_steps": old.num_inference_steps,
        "guidance_scale": old.guidance_scale,
        "gamma": old.gamma,
        "sampler": old.sampler,
        "priority": old.priority,
        "webhook_url": old.webhook_url,
        "webhook_events": list(old.webhook_events) or None,
    }
    if told.get("seconds") is None:
        fields["num_frames"] = old.num_frames
    if old.input_picture is not None:
        fields["fit"] = old.input_picture.fit
    if told.get("model") not in (None, old.model) or spec is None:
        # Bounds differ from model to model: of another one its own defaults hold.
        kept = ("model", "seed", "priority", "webhook_url", "webhook_events", "fit")
        fields = {name: value for name, value in fields.items() if name in kept}
    return fields


async def _picture_of(intake: Intake, source: VideoJob, keep_keyframe: bool) -> bytes | None:
    """The stored picture that the new video starts from, copied: the old video may be deleted any moment."""
    stored = source.keyframe if keep_keyframe else source.request.input_picture
    if stored is None:
        if keep_keyframe:
            raise NoContent(f"the video {source.id} has no keyframe to keep", param=KEEP_KEYFRAME)
        return None
    return b"".join([chunk async for chunk in await intake.shelf.read(stored.key)])


def asked_digest(what: str, video_id: str, given: Mapping[str, object], picture: Picture | None) -> str:
    """sha256 of what was asked: the words of the client alone, so that a repeat needs no old video."""
    told = {name: value for name, value in given.items() if value is not None}
    asked = {what: video_id, "fields": told, "picture": picture_digest(picture)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class RemixVideo(CreateVideo):
    """What a remix may say: a new `prompt`, and whatever else shall differ from the old video."""

    keep_keyframe: bool = False
