"""The ASGI application, composed from parts that are passed in."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from service.api import (
    approvals,
    content,
    estimates,
    events,
    health,
    openai_webhooks,
    playground,
    predictions,
    remixes,
    reproductions,
    videos,
    webhooks,
)
from service.api.direct import Direct
from service.api.parts import VERSION_PREFIX, GatewayParts
from service.api.problems import ProblemView, documented, refusal_of_http, refusal_of_validation
from service.api.scope import OnePath, RequestScope
from service.api.traced import Traced
from service.auth import KeyGate
from service.browsers import SecurityHeaders, open_to, read_origins
from service.limits import BodyLimit, ConcurrencyLimit, Pace
from service.rates import RateLimit
from service.refusals import MissingScope, RateLimited, Unauthenticated

DESCRIPTION = """\
Text-to-video jobs: POST a prompt, poll (or wait for a signed webhook), download an MP4.

The routes have the shape of OpenAI's videos API, so its clients work with another `base_url`; they are served
with and without the prefix `/v1`. Errors are RFC 9457 problems that also carry OpenAI's `error` object.
"""

#: Routes of an owner; those below look at the key themselves, or need none.
_KEYED = (
    videos.router,
    estimates.router,
    remixes.router,
    reproductions.router,
    approvals.router,
    events.router,
    webhooks.router,
    openai_webhooks.router,
    predictions.router,
)
_OPEN = (content.router, events.open_router, health.router, playground.router)
#: What is also served under /v1.
_VERSIONED = (*_KEYED, content.router)


class Gateway(FastAPI):
    """FastAPI whose OpenAPI document also holds the schemas of hand-read bodies and of problems."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            for named in (videos, remixes, reproductions, approvals, webhooks, openai_webhooks, predictions):
                schemas |= named.SCHEMAS
            problem = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs")
            schemas["Problem"] = problem
            document["components"]["securitySchemes"] = {"ApiKey": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"ApiKey": []}, {}]  # or none: keys may be off
            _without_unused_validation(document)
        assert self.openapi_schema is not None
        return self.openapi_schema


def create_app(parts: GatewayParts) -> FastAPI:
    """The gateway over these parts. Its lifespan runs the sweep and closes the parts' connections."""
    settings = parts.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        sweep = asyncio.create_task(parts.sweep.run(stop))
        reader = asyncio.create_task(parts.broadcast.run(stop))
        try:
            yield
        finally:
            stop.set()
            await sweep
            await reader
            await parts.close()

    app = Gateway(
        title="MicroCinema",
        version=version("microcinema"),
        description=DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        redoc_url=None,
        redirect_slashes=False,  # OnePath answers at once
        # Spans are Traced's: those of FastAPI's own hold paths and queries, so ids and signatures.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = parts
    limited, locked = documented(RateLimited), documented(Unauthenticated, MissingScope, RateLimited)
    for router in _KEYED:
        app.include_router(router, responses=locked)
    for router in _OPEN:
        app.include_router(router, responses=limited if router is content.router else None)
    app.include_router(_heads())
    for router in _VERSIONED:
        app.include_router(router, prefix=VERSION_PREFIX, include_in_schema=False)
    app.include_router(_heads(versioned=True), prefix=VERSION_PREFIX)
    app.add_exception_handler(HTTPException, _declined_by_router)
    app.add_exception_handler(RequestValidationError, _declined_by_validation)
    # The last one added is the outermost.
    app.add_middleware(Direct, routes=_named(videos.router, videos.DIRECT), prefix=VERSION_PREFIX)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_upload_bytes,
        max_json_bytes=settings.max_text_bytes,
        pace=Pace(settings.upload_timeout_s, settings.upload_grace_s, settings.upload_least_rate),
        max_arriving=max(1, settings.max_concurrent_requests // 2),
    )
    app.add_middleware(RateLimit, rates=parts.rates)
    app.add_middleware(KeyGate, find=parts.find_key)
    app.add_middleware(
        ConcurrencyLimit, max_requests=settings.max_concurrent_requests, exempt=events.NOT_COUNTED
    )
    app.add_middleware(RequestScope, metrics=parts.metrics, clock=time.monotonic, quiet=health.PROBES)
    app.add_middleware(Traced, traces=parts.traces, quiet=health.PROBES)
    app.add_middleware(OnePath)
    if origins := read_origins(settings.cors_origins):
        app.add_middleware(open_to(origins))
    app.add_middleware(SecurityHeaders, https_only_s=settings.hsts_s)
    return app


async def _declined_by_router(request: Request, error: Exception) -> Any:
    assert isinstance(error, HTTPException)
    raise refusal_of_http(error, request, _methods_of(request.url.path)) from None


async def _declined_by_validation(_: Request, error: Exception) -> Any:
    assert isinstance(error, RequestValidationError)
    raise refusal_of_validation(list(error.errors())) from None


@cache  # the routers are this module's own, and these were most of what an app costs
def _heads(versioned: bool = False) -> APIRouter:
    """HEAD wherever those have GET, answered by the same function: the server keeps the body back.

    RFC 9110, 9.1: a general-purpose server must support both. FastAPI, unlike Starlette, adds GET alone.
    """
    heads = APIRouter()
    for route in _routes(*(_VERSIONED if versioned else (*_KEYED, *_OPEN))):
        if "GET" in (route.methods or ()):
            heads.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                response_class=route.response_class,
                include_in_schema=False,
            )
    return heads


def _methods_of(path: str) -> set[str]:
    """Every method of a path; the router's own Allow header names those of its first route only."""
    below = path.removeprefix(VERSION_PREFIX)
    methods = {
        method
        for route in _routes(*_KEYED, *_OPEN)
        if route.path_regex.match(below)
        for method in route.methods or ()
    }
    return methods | {"HEAD"} if "GET" in methods else methods


def _routes(*routers: APIRouter) -> Iterator[APIRoute]:
    return (route for router in routers for route in router.routes if isinstance(route, APIRoute))


def _named(router: APIRouter, names: Collection[str]) -> list[APIRoute]:
    return [route for route in _routes(router) if route.name in names]


def _operation_id(route: APIRoute) -> str:
    return route.name


def _without_unused_validation(document: dict[str, Any]) -> None:
    """FastAPI documents a 422 of its own for every parameter; ours are documented where they can happen."""
    for path in document["paths"].values():
        for operation in path.values():
            answer = operation["responses"].get("422", {})
            if "application/json" in answer.get("content", {}):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
