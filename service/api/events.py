"""`/videos/{id}/events`: what happens to a job, as it happens, by server-sent events."""

import random
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.access import reaching_record
from service.api import health
from service.api.parts import VERSION_PREFIX, GatewayParts, Parts, Tenant
from service.api.presenting import present
from service.api.problems import documented
from service.broadcast import Listener, Told, sse, told
from service.contracts.event import Event
from service.contracts.job import VideoJob
from service.refusals import (
    BadSignature,
    InvalidFields,
    RecordUnavailable,
    TooManyListeners,
    UnknownRoute,
    UnknownVideo,
    VideoGone,
)
from service.storage.links import LinkRefused

router = APIRouter()
open_router = APIRouter()

#: More than a job's log ever holds.
_WHOLE_LOG = 1000
#: A gateway that stops ends all of its streams at once: they do not all come back in the same moment (ms).
_RETRY_MS = (1000, 3000)

_HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would hold events back until its buffer is full
}
#: Tools that read OpenAPI hold each event of a stream against this, as they find it in the stream: text.
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"type": "object"},
        },
    },
    "required": ["event", "data"],  # a preview has no id
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events until the job has ended. `data` is JSON: id if any, type, created_at, data.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "The job has ended and you have seen its last event: do not come back."},
}
LastEventId = Annotated[
    str | None,
    Header(alias="last-event-id", description="The id of the last event that you saw: go on behind it."),
]

Previews = Annotated[
    bool, Query(description="Whether to send small pictures of the video as it is made, too.")
]


class _NotCounted:
    """Paths that take none of the places for requests: probes, and streams, which have their own."""

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        below = path.removeprefix(VERSION_PREFIX)
        is_stream = below.startswith("/videos/") and below.endswith("/events")
        return path in health.PROBES or is_stream or path.startswith("/events/")


NOT_COUNTED = _NotCounted()


@router.get(
    "/videos/{video_id}/events",
    tags=["videos"],
    summary="Hear what happens to a video",
    response_class=Response,
    responses={
        **_ANSWERS,
        **documented(UnknownVideo, VideoGone, InvalidFields, TooManyListeners, RecordUnavailable),
    },
)
async def follow_video(
    request: Request,
    parts: Parts,
    tenant: Tenant,
    video_id: str,
    last_event_id: LastEventId = None,
    previews: Previews = True,
) -> Response:
    """Server-sent events: `video.queued`, `video.started`, `video.progress` and so on, from the first one, or
    behind `Last-Event-ID` without gap or duplicate. `reset` carries the whole job, where the log does not
    reach back so far or the id is not of this job. `video.preview` has no id and is never told again: it is a
    picture of the video so far, the newest one at first. Comments say that the stream is alive. It ends
    behind the job's last event, and whenever the gateway has to let go: come back with the last id."""
    return await _events(request, parts, tenant, video_id, last_event_id, previews)


@open_router.get(
    "/events/{video_id}",
    tags=["videos"],
    summary="Follow a signed link to a video's events",
    response_class=Response,
    responses={
        **_ANSWERS,
        **documented(
            BadSignature,
            UnknownRoute,
            UnknownVideo,
            VideoGone,
            InvalidFields,
            TooManyListeners,
            RecordUnavailable,
        ),
    },
)
async def follow_events_link(
    request: Request,
    parts: Parts,
    video_id: str,
    expires: int,
    signature: str,
    last_event_id: LastEventId = None,
    previews: Previews = True,
) -> Response:
    """The link is a job's `urls.events_link`, for `EventSource`, which sends no key."""
    if parts.link_signer is None:
        raise UnknownRoute("this service signs no links to events: MICROCINEMA_STORAGE_SECRET is not set")
    try:
        parts.link_signer.verify_events(video_id, expires, signature)
    except LinkRefused as error:
        raise BadSignature(str(error)) from None
    async with reaching_record():
        job = await parts.intake.jobs.record(video_id)
    if job is None:
        raise await parts.intake.missing("", video_id)
    return await _events(request, parts, job.tenant, video_id, last_event_id, previews)


async def _events(
    request: Request,
    parts: GatewayParts,
    tenant: str,
    job_id: str,
    last_event_id: str | None,
    previews: bool,
) -> Response:
    job = await parts.intake.show(tenant, job_id)
    if request.method == "HEAD":
        return Response(headers=_HEADERS, media_type="text/event-stream")
    after = 0 if last_event_id is None else _seq_in(last_event_id, job_id)
    if job.terminal and after == job.seq:
        return Response(status_code=204, headers=_HEADERS)
    # First listen, then read what there was: nothing falls in between, and what comes twice shows by its seq.
    listener = parts.broadcast.join(tenant, job_id, job.seq, previews=previews)
    try:
        before = await _before(request, parts, job, after)
    except BaseException:
        listener.leave()
        raise
    return _Stream(listener, before, parts.settings.heartbeat_s)


async def _before(request: Request, parts: GatewayParts, job: VideoJob, after: int | None) -> Sequence[Told]:
    """What the client has not seen yet: the events behind `after` or, where some are lost, a reset."""
    if after is not None:
        async with reaching_record():
            kept = await parts.intake.jobs.events(job.tenant, job.id, after, _WHOLE_LOG)
        if _follows(kept, after, job.seq):
            return [told(event) for event in kept]
    job = await parts.intake.show(job.tenant, job.id)
    view = (await present(request, parts, job)).model_dump(mode="json", by_alias=True)
    return [Told(job.seq, job.terminal, sse("reset", f"evt_{job.id}_{job.seq}", view))]


def _follows(kept: Sequence[Event], after: int, seq: int) -> bool:
    """Whether these are all events behind `after` of a job whose record stood at `seq` a moment ago."""
    if kept:
        return kept[0].seq == after + 1 and kept[-1].seq >= seq
    return after == seq


def _seq_in(event_id: str, job_id: str) -> int | None:
    """The seq in an event's id; None if it is not the id of one of this job's events."""
    name, _, number = event_id.rpartition("_")
    known = name == f"evt_{job_id}" and number.isascii() and number.isdigit() and len(number) < 10
    return int(number) if known else None


class _Stream(StreamingResponse):
    """Leaves the broadcast however it ends, also where it never begins."""

    def __init__(self, listener: Listener, before: Sequence[Told], heartbeat_s: float) -> None:
        self._listener, self._before, self._heartbeat_s = listener, before, heartbeat_s
        super().__init__(self._told(), headers=_HEADERS, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listener.leave()

    async def _told(self) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % random.randint(*_RETRY_MS)
        seq = 0
        for news in self._before:
            seq = news.seq or seq
            yield news.wire
            if news.last:
                return
        while not self._listener.ended:
            news_or_none = await self._listener.next(self._heartbeat_s)
            if news_or_none is None:
                if not self._listener.ended:
                    yield b": still here\n\n"
            elif news_or_none.seq is None or news_or_none.seq > seq:
                seq = news_or_none.seq or seq
                yield news_or_none.wire
                if news_or_none.last:
                    return
