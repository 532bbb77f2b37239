"""Predictions: Replicate's API over the same jobs. Nothing is kept here; every prediction is a video."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.asking import ACCEPTED, JOB_REFUSALS, IdempotencyKey, Prefer
from service.api.body import read_json
from service.api.parts import GatewayParts, Parts, Tenant, served_base
from service.api.prediction_views import PredictionListView, PredictionView, prediction_view
from service.api.presenting import present, waited_for
from service.api.problems import documented
from service.api.views import video_view
from service.contracts.job import VideoJob
from service.fields.prediction import CreatePrediction, model_at, read_prediction
from service.intake.admission import Accepted
from service.intake.waiting_room import LONGEST_WAIT_S
from service.limits import JSON
from service.refusals import (
    AlreadyFinished,
    ContentUnavailable,
    InvalidFields,
    RecordUnavailable,
    UnknownVideo,
    VideoGone,
)
from service.store.nouns import Order

router = APIRouter(tags=["predictions"])

#: As many as Replicate lists.
PAGE = 100
#: Its client gives up half a second behind the wait that it asks for: the answer has to be there by then.
_AHEAD_S = 0.5
_WAIT = re.compile(r"(?:^|[,;])\s*wait(?:\s*=\s*\"?([0-9]{1,6})\"?)?\s*(?=$|[,;])", re.IGNORECASE)


def _schema() -> dict[str, Any]:
    schema = CreatePrediction.model_json_schema()
    schema["properties"]["input"] = {
        "$ref": "#/components/schemas/CreateVideo",
        "description": "The fields of `POST /videos`, with `input_reference` as a URL or data URL.",
    }
    return schema


SCHEMAS: dict[str, Any] = {CreatePrediction.__name__: _schema()}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{CreatePrediction.__name__}"}}},
    }
}
_MADE: dict[int | str, dict[str, Any]] = {
    200: {"model": PredictionView, "description": "The prediction that this Idempotency-Key made before."},
    201: {
        "description": "Accepted, and perhaps ended while you waited.",
        "headers": ACCEPTED[202]["headers"],
    },
    **documented(*JOB_REFUSALS),
}


@router.post(
    "/predictions",
    summary="Ask for a prediction",
    status_code=201,
    response_model=PredictionView,
    openapi_extra=_BODY,
    responses=_MADE,
)
async def create_prediction(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> PredictionView:
    """`POST /videos` in the words of Replicate's clients; `version` names the model."""
    fields, picture = read_prediction(await read_json(request))
    accepted = await parts.intake.submit(tenant, fields, picture, idempotency_key)
    return await _answer(request, response, parts, tenant, accepted, prefer)


@router.post(
    "/models/{owner}/{name}/predictions",
    summary="Ask a model for a prediction",
    status_code=201,
    response_model=PredictionView,
    openapi_extra=_BODY,
    responses=_MADE,
)
async def create_model_prediction(
    request: Request,
    response: Response,
    parts: Parts,
    tenant: Tenant,
    owner: str,
    name: str,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> PredictionView:
    """The same, where the address names the model: `microcinema/` and its name, or a name that the operator
    lets stand for one of ours."""
    fields, picture = read_prediction(await read_json(request), model_at(owner, name))
    accepted = await parts.intake.submit(tenant, fields, picture, idempotency_key)
    return await _answer(request, response, parts, tenant, accepted, prefer)


@router.get(
    "/predictions",
    summary="List your predictions",
    responses=documented(InvalidFields, RecordUnavailable),
)
async def list_predictions(
    request: Request,
    parts: Parts,
    tenant: Tenant,
    cursor: Annotated[str | None, Query(description="Of a page's `next`.")] = None,
) -> PredictionListView:
    """All of your videos, the newest first, without output: ask for one prediction to get its link."""
    page = await parts.intake.page(tenant, cursor, PAGE, Order.DESC, {})
    base = served_base(request, parts)
    results = [prediction_view(video_view(job, base), base) for job in page.jobs]
    return PredictionListView(
        next=f"{base}/predictions?cursor={results[-1].id}" if page.has_more else None, results=results
    )


@router.get(
    "/predictions/{video_id}",
    summary="Look at one prediction",
    responses=documented(UnknownVideo, VideoGone, RecordUnavailable, ContentUnavailable),
)
async def retrieve_prediction(
    request: Request, parts: Parts, tenant: Tenant, video_id: str
) -> PredictionView:
    """Poll this until `status` is succeeded, failed or canceled."""
    return await _shown(request, parts, await parts.intake.show(tenant, video_id))


@router.post(
    "/predictions/{video_id}/cancel",
    summary="Call a prediction off",
    responses=documented(UnknownVideo, AlreadyFinished, VideoGone, RecordUnavailable),
)
async def cancel_prediction(request: Request, parts: Parts, tenant: Tenant, video_id: str) -> PredictionView:
    """A running one is canceled once its worker has stopped, within a step; until then it is processing."""
    return await _shown(request, parts, await parts.intake.cancel(tenant, video_id))


async def _answer(
    request: Request,
    response: Response,
    parts: GatewayParts,
    tenant: str,
    accepted: Accepted,
    prefer: str | None,
) -> PredictionView:
    wait_s = _asked_wait(prefer)
    job = await waited_for(request, response, parts, tenant, accepted.job, wait_s)
    view = await _shown(request, parts, job, just_made=True)
    response.status_code = 201 if accepted.created else 200
    response.headers["location"] = view.urls.get
    return view


async def _shown(
    request: Request, parts: GatewayParts, job: VideoJob, *, just_made: bool = False
) -> PredictionView:
    video = await present(request, parts, job)
    return prediction_view(video, served_base(request, parts), just_made=just_made)


def _asked_wait(prefer: str | None) -> float | None:
    """The seconds of `Prefer: wait=N`, less what the client's own patience is short of; `wait` alone: the
    longest. None: not asked."""
    found = _WAIT.search(prefer or "")
    if found is None:
        return None
    asked = min(int(found[1]), LONGEST_WAIT_S) if found[1] else LONGEST_WAIT_S
    return max(0.0, asked - _AHEAD_S)
