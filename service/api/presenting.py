"""Jobs as answers: with fresh links, with what a waiting one has before it, and after `Prefer: wait`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from fastapi import Request, Response
from pydantic_core import to_json

from service.access import reaching_record
from service.api.content import fresh_links
from service.api.parts import GatewayParts, served_base
from service.api.views import NO_OUTLOOK, Outlook, VideoView, outlook_of, video_fields
from service.contracts.job import VideoJob
from service.contracts.lifecycle import State
from service.intake.admission import Accepted
from service.refusals import ABOUT_JOB, Refusal
from service.store.nouns import Forecast

#: A job is shown without its outlook rather than late (seconds).
OUTLOOK_LIMIT_S = 1.0
NONE_KNOWN: Mapping[str, Forecast] = MappingProxyType({})

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


@dataclass
class Head:
    """Status and headers of an answer in the making, for routes that do not get FastAPI's."""

    status_code: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def over(self, fields: Mapping[str, object]) -> Response:
        """The answer as FastAPI would make it of a view with these fields, without its way there."""
        return Response(to_json(fields), self.status_code, self.headers, media_type="application/json")


async def answer_accepted(
    request: Request,
    response: Response | Head,
    parts: GatewayParts,
    tenant: str,
    accepted: Accepted,
    wait_s: int | None,
) -> VideoView:
    """202 for a job that is new and goes on; 200 for one that was there before, or has ended meanwhile."""
    return VideoView.model_validate(await accepted_fields(request, response, parts, tenant, accepted, wait_s))


async def accepted_fields(
    request: Request,
    response: Response | Head,
    parts: GatewayParts,
    tenant: str,
    accepted: Accepted,
    wait_s: int | None,
) -> dict[str, object]:
    """As `answer_accepted`, for `Head.over`."""
    job = await waited_for(request, response, parts, tenant, accepted.job, wait_s)
    response.status_code = 202 if accepted.created and not job.terminal else 200
    response.headers["location"] = f"{served_base(request, parts)}/videos/{job.id}"
    return await present_fields(request, parts, job, accepted.forecast)


async def waited_for(
    request: Request,
    response: Response | Head,
    parts: GatewayParts,
    tenant: str,
    job: VideoJob,
    wait_s: float | None,
) -> VideoJob:
    """The job once it is at rest, or as it stands after `wait_s` seconds; at once for None, or where too many
    wait already."""
    request.scope[ABOUT_JOB] = job.id
    if wait_s is None or job.at_rest:
        return job
    waited = await parts.waiting_room.until_ended(
        lambda: parts.intake.show(tenant, job.id), wait_s, request.is_disconnected
    )
    if waited is None:
        return job
    response.headers["preference-applied"] = f"wait={wait_s:g}"
    return waited


def asked_wait(prefer: str | None) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240, 4.3). None: not asked, or not readable: no error, by 2."""
    found = _WAIT.search(prefer or "")
    return int(found[1]) if found else None


def is_repeat(retry_count: str | None) -> bool | None:
    """Whether a library repeats by itself; None for a client that does not count."""
    if retry_count is None or not (retry_count.isascii() and retry_count.isdigit()):
        return None
    return retry_count.strip("0") != ""


async def present(
    request: Request, parts: GatewayParts, job: VideoJob, forecast: Forecast | None = None
) -> VideoView:
    """One job, with signed links made now. `forecast`: what is known to lie before it."""
    return VideoView.model_validate(await present_fields(request, parts, job, forecast))


async def present_fields(
    request: Request, parts: GatewayParts, job: VideoJob, forecast: Forecast | None = None
) -> dict[str, object]:
    """As `present`, for `Head.over`."""
    links = await fresh_links(job, parts, parts.intake.clock())
    outlook = await outlooks(parts, [job], {} if forecast is None else {job.id: forecast})
    return video_fields(job, served_base(request, parts), outlook(job), links)


async def outlooks(
    parts: GatewayParts, jobs: Sequence[VideoJob], known: Mapping[str, Forecast] = NONE_KNOWN
) -> Callable[[VideoJob], Outlook]:
    """From a job to its outlook, by one reading for all of `jobs` that `known` does not speak of.

    Kind but not needed: jobs are shown without it when the record has just gone away.
    """
    waiting = [job.id for job in jobs if job.state is State.QUEUED]
    asked = [job_id for job_id in waiting if job_id not in known]
    if not waiting:
        return lambda _: NO_OUTLOOK
    snapshot, catalogue = parts.snapshots.fresh(), parts.intake.catalogue.recent.fresh()
    if asked or snapshot is None or catalogue is None:
        try:
            async with reaching_record(OUTLOOK_LIMIT_S):
                snapshot, catalogue = await parts.snapshots.get(), await parts.intake.catalogue.recent.get()
                known = {**known, **(await parts.intake.jobs.ahead(asked) if asked else {})}
        except Refusal:
            return lambda _: NO_OUTLOOK
    return lambda job: outlook_of(job, snapshot, catalogue, known.get(job.id))
