"""What decides about a submission before the record is asked, and what comes of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from service.contracts.artifact import Artifact
from service.contracts.job import VideoJob
from service.contracts.lifecycle import State
from service.contracts.model_spec import ModelSpec
from service.contracts.request import MAX_CANDIDATES, KeyframeGate, VideoRequest
from service.fields.aliases import Aliases
from service.fields.bounds import BoundsCheck
from service.fields.references import Picture, picture_digest
from service.fields.video import PICTURE_FIELD, CreateVideo
from service.refusals import FieldFault, InvalidFields, NoModelYet, UnknownModel
from service.ssrf import Guard
from service.store.nouns import CatalogueEntry, Forecast, Submission

MAX_IDEMPOTENCY_KEY_CHARS = 255

_IN_ORDER = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True)
class Accepted:
    """The job that answers for a submission; `created` is False when an earlier one made it.

    `forecast` is what lay before it when it was created, if that was said.
    """

    job: VideoJob
    created: bool
    forecast: Forecast | None = None


@dataclass(frozen=True)
class Origin:
    """The video that a remix or an extension comes from, and the digest of what was asked of it.

    `film` is what an extension goes on with; `picture`: the new job's picture is that video's, too.
    """

    video_id: str
    digest: str
    film: Artifact | None = None
    picture: bool = False


def chosen_model(
    entries: Sequence[CatalogueEntry], asked: CreateVideo, faults: Sequence[FieldFault], aliases: Aliases
) -> ModelSpec:
    """The model asked for, or the first one.

    `faults` are those found so far: they hold for any model, so they come before UnknownModel and NoModelYet.
    """
    wanted = asked.model
    for entry in entries:
        if wanted is None or entry.spec.name == wanted:
            return entry.spec
    if faults:
        raise InvalidFields(faults)
    if not entries:
        raise NoModelYet("no worker has announced a model yet; start one, or try again in a moment")
    names = [*(entry.spec.name for entry in entries), *aliases]
    raise UnknownModel(FieldFault.of("model", wanted, f"one of {', '.join(names)}"))


def picture_faults(spec: ModelSpec, *, given: bool) -> list[FieldFault]:
    """What is wrong with there being a picture, or none, for this model."""
    if given and not spec.image_input:
        return [FieldFault.of(PICTURE_FIELD, "a file", f"left out: {spec.name} takes none")]
    if not given and spec.image_required:
        bound = f"a picture: {spec.name} animates pictures and makes none"
        return [FieldFault(PICTURE_FIELD, "", bound, f"{PICTURE_FIELD} is required: {bound}")]
    return []


def gate_faults(asked: CreateVideo, spec: ModelSpec, *, own_picture: bool) -> list[FieldFault]:
    """What is wrong with asking this model for a gate, or with what belongs to one."""
    if asked.pause_after is None:
        words = {"candidates": asked.candidates, "approve_within": asked.approve_within}
        bound = "left out without pause_after"
        return [FieldFault.of(name, value, bound) for name, value in words.items() if value is not None]
    if own_picture:
        bound = f"left out beside {PICTURE_FIELD}: that is the keyframe"
        return [FieldFault.of("pause_after", asked.pause_after, bound)]
    if spec.keyframe is None or spec.image_required:
        bound = f"left out: {spec.name} paints no keyframe"
        return [FieldFault.of("pause_after", asked.pause_after, bound)]
    if asked.candidates is not None and not 1 <= asked.candidates <= MAX_CANDIDATES:
        return [FieldFault.of("candidates", asked.candidates, f"1 to {MAX_CANDIDATES}")]
    return []


def webhook_faults(asked: CreateVideo, guard: Guard) -> list[FieldFault]:
    """What is wrong with where the webhook leads, as its URL alone says it; names are judged at each try."""
    if asked.webhook_url is None or not guard.refuses_at_sight(httpx.URL(asked.webhook_url)):
        return []
    bound = "a URL that leads to public addresses alone (the operator has not set WEBHOOK_ALLOW_PRIVATE)"
    return [FieldFault.of("webhook_url", asked.webhook_url, bound)]


def gate_of(asked: CreateVideo, approval_s: float) -> KeyframeGate | None:
    """The gate asked for, open `approval_s` seconds where the client named no time."""
    if asked.pause_after is None:
        return None
    within = asked.approve_within
    return KeyframeGate(
        candidates=asked.candidates or 1, approval_s=approval_s if within is None else within.seconds
    )


def checked_request(
    asked: CreateVideo, spec: ModelSpec, faults: Sequence[FieldFault], seed: int, with_picture: bool
) -> VideoRequest:
    """The whole request on this model, but for its picture; `seed` is for a client that named none.

    Raises InvalidFields with `faults`, which were found before, and every other.
    """
    unread = frozenset(fault.field for fault in faults)
    check = BoundsCheck(asked, spec, unread)
    request = check.request(seed=seed)
    faults = [
        *faults,
        *picture_faults(spec, given=with_picture),
        *([] if "pause_after" in unread else gate_faults(asked, spec, own_picture=with_picture)),
    ]
    if request is None or faults:
        raise InvalidFields([*faults, *check.faults])
    return request


def credited(request: VideoRequest, origin: Origin | None) -> VideoRequest:
    """The request whose picture, where it is another video's, says so."""
    own = request.input_picture
    if origin is None or not origin.picture or own is None:
        return request
    return request.model_copy(
        update={"input_picture": own.model_copy(update={"taken_from": origin.video_id})}
    )


def request_digest(asked: CreateVideo, picture: Picture | None) -> str:
    """sha256 of what the client asked, before seed and defaults: equal for equal requests, JSON or form."""
    fields = asked.model_dump(mode="json", exclude_none=True)
    told = {"fields": fields, "picture": picture_digest(picture)}
    return hashlib.sha256(_IN_ORDER.encode(told).encode()).hexdigest()


def checked_idempotency_key(key: str | None) -> str | None:
    """The key itself, if it can be kept; else InvalidFields."""
    if key is None:
        return None
    if not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARS and key.isascii() and key.isprintable()):
        bound = f"1 to {MAX_IDEMPOTENCY_KEY_CHARS} printable ASCII characters"
        raise InvalidFields([FieldFault.of("Idempotency-Key", key, bound)])
    return key


def as_made(submission: Submission, now: float) -> VideoJob:
    """The job as the record made it of a submission at `now` (Unix seconds), by what the submission says."""
    return VideoJob(
        id=submission.job_id,
        tenant=submission.tenant,
        state=State.QUEUED,
        request=submission.request,
        compat=submission.compat,
        pool=submission.pool,
        created_at=now,
        start_by=submission.start_by.at(now) if submission.start_by else None,
        finish_by=submission.finish_by.at(now) if submission.finish_by else None,
        warnings=submission.warnings,
    )
