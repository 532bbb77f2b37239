"""A video made again, to see whether the same comes out."""

from collections.abc import Mapping

from pydantic import BaseModel, Field

from service.contracts.compat import compat_key
from service.contracts.job import OWN_PICTURE, VideoJob
from service.contracts.model_spec import ModelSpec
from service.contracts.receipt import Receipt
from service.contracts.request import MAX_PRIORITY, MIN_PRIORITY, Original, PictureRef, VideoRequest
from service.fields.deadlines import deadline_faults, retention_faults
from service.fields.references import Picture
from service.fields.video import (
    PICTURE_FIELD,
    CreateVideo,
    Delay,
    Metadata,
    Moment,
    WebhookEvents,
    WebhookUrl,
    Whole,
    read_fields,
)
from service.fields.vocabulary import unknown_words
from service.intake.admission import Accepted, checked_idempotency_key, webhook_faults
from service.intake.intake import Intake
from service.intake.remix import asked_digest
from service.intake.sources import finished_source
from service.refusals import FieldFault, InvalidFields, UnknownModel
from service.source_refusals import CannotReproduce
from service.store.nouns import Submission
from service.tracing import current_traceparent

_INHERITED = "left out: a reproduction asks for what its original asked for"


class ReproduceVideo(BaseModel):
    """What a reproduction may say: nothing that a frame depends on."""

    webhook_url: WebhookUrl | None = Field(None, description="Left out, the original's.")
    webhook_events: WebhookEvents | None = Field(None, description="Left out, the original's.")
    metadata: Metadata | None = Field(None, description="Your own text; the original's is not taken over.")
    priority: Whole | None = Field(None, description="Left out, the original's.")
    start_by: Moment | None = Field(None, description="As in `POST /videos`.")
    finish_by: Moment | None = Field(None, description="As in `POST /videos`.")
    expires_after: Delay | None = Field(None, description="As in `POST /videos`.")


async def reproduce(
    intake: Intake,
    tenant: str,
    video_id: str,
    given: Mapping[str, object],
    picture: Picture | None,
    idempotency_key: str | None,
    repeat: bool | None = None,
) -> Accepted:
    """Accepts a repetition of the succeeded video `video_id`, from the same prompts, seed, picture and film.

    It runs in no batch. Its worker compares the films (worker/provenance/comparison.py). Raises what a
    submission raises, and UnknownVideo, VideoGone, SourceNotReady, CannotReproduce or ContentGone (its
    picture is).
    """
    key = checked_idempotency_key(idempotency_key)
    asked = _asked(intake, given, picture)
    digest = asked_digest("reproduce", video_id, given, None)
    before = await intake.made_before(tenant, key, digest)
    if before is not None:
        return before
    source, film = await finished_source(intake, tenant, video_id, "reproduced")
    if film.receipt is None:
        raise CannotReproduce(f"the video {video_id} is from before there were receipts: it has none")
    spec = await _served(intake, source, film.receipt)
    job_id = intake.new_id()
    request = await intake.pictures.copy(_repeated(source, film.receipt, asked), tenant, job_id)
    own_picture = request.input_picture is not None or request.extends is not None
    compat = compat_key(request, spec, spec.first_stage(own_picture=own_picture))
    return await intake.accept(
        Submission(
            job_id=job_id,
            tenant=tenant,
            request=request,
            pool=spec.pool,
            # Bits depend on how many videos share a run: with a key of its own this one shares none.
            compat=f"{compat}:{job_id}",
            digest=digest,
            queue_limit=intake.queue_limit,
            retention_s=intake.retention_s if asked.expires_after is None else asked.expires_after.seconds,
            idempotency_key=key,
            warnings=unknown_words(request.prompt, spec),
            start_by=asked.start_by,
            finish_by=asked.finish_by,
            repeat=repeat if key is None else None,
            traceparent=current_traceparent(),
            quotas=intake.quotas,
        )
    )


def _asked(intake: Intake, given: Mapping[str, object], picture: Picture | None) -> CreateVideo:
    """The few fields that a reproduction has of its own. Raises InvalidFields."""
    asked, faults = read_fields(given)
    named = {fault.field for fault in faults}
    inherited = CreateVideo.model_fields.keys() - ReproduceVideo.model_fields.keys() - named
    faults += [
        FieldFault.of(name, value, _INHERITED)
        for name, value in given.items()
        if value is not None and name in inherited
    ]
    if picture is not None:
        faults.append(FieldFault.of(PICTURE_FIELD, "a picture", _INHERITED))
    faults += deadline_faults(asked, given, intake.clock())
    faults += retention_faults(asked, given, intake.retention_s) + webhook_faults(asked, intake.guard)
    if asked.priority is not None and not MIN_PRIORITY <= asked.priority <= MAX_PRIORITY:
        faults.append(FieldFault.of("priority", asked.priority, f"{MIN_PRIORITY} to {MAX_PRIORITY}"))
    if faults:
        raise InvalidFields(faults)
    return asked


async def _served(intake: Intake, source: VideoJob, receipt: Receipt) -> ModelSpec:
    """The model that made the source, if its weights are the same. Raises UnknownModel, CannotReproduce."""
    name = source.request.model
    specs = {entry.spec.name: entry.spec for entry in await intake.catalogue.now()}
    if name not in specs:
        raise UnknownModel(FieldFault.of("model", name, f"one of {', '.join(specs) or 'none yet'}"))
    served = specs[name].weight_hash
    if served != receipt.weight_hash:
        raise CannotReproduce(
            f"{name} made {source.id} with the weights {receipt.weight_hash} and has {served} now: "
            f"other frames would come out. POST /videos/{source.id}/remix makes it over with these"
        )
    return specs[name]


def _repeated(source: VideoJob, receipt: Receipt, asked: CreateVideo) -> VideoRequest:
    """The old request, without its gate: what was chosen there stands."""
    old, film = source.request, source.artifact
    assert film is not None
    original = Original(
        video_id=source.id,
        key=film.key,
        receipt=receipt,
        candidate=_candidate(source),
    )
    url = old.webhook_url if asked.webhook_url is None else asked.webhook_url
    if asked.webhook_events is not None and url is None:
        raise InvalidFields(
            [FieldFault.of("webhook_events", list(asked.webhook_events), "left out without webhook_url")]
        )
    changes = {
        "gate": None,
        "reproduces": original,
        "input_picture": _own_picture(source),
        "metadata": asked.metadata or {},
        "priority": old.priority if asked.priority is None else asked.priority,
        "webhook_url": url,
        "webhook_events": old.webhook_events if asked.webhook_events is None else asked.webhook_events,
    }
    return old.model_copy(update=changes)


def _candidate(source: VideoJob) -> int:
    if source.request.reproduces is not None:
        return source.request.reproduces.candidate
    return int(source.chosen) if source.chosen is not None and source.chosen.isdigit() else 0


def _own_picture(source: VideoJob) -> PictureRef | None:
    """The picture that the client sent, with the request or to the gate."""
    if source.keyframe is None or source.chosen is None or not source.chosen.startswith(OWN_PICTURE):
        return source.request.input_picture
    sent = source.keyframe
    return PictureRef(
        key=sent.key, sha256=sent.sha256, width=sent.width, height=sent.height, upload=sent.upload
    )
