"""Routes that are called without the router: what they answer, and what they leave to it."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute

from service.api.direct import Direct

router = APIRouter()


@router.get("/things/{name}")
async def look(request: Request, name: str) -> Response:
    # FastAPI leaves its exit stacks in the scope of whatever it calls.
    way = "router" if "fastapi_inner_astack" in request.scope else "direct"
    return Response(f"{way} {name} {request.scope['route'].path} {request.path_params}")


def gateway() -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    app.include_router(router, prefix="/v1")
    app.add_middleware(Direct, routes=[r for r in router.routes if isinstance(r, APIRoute)], prefix="/v1")
    return app


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/things/one", "direct one /things/{name} {'name': 'one'}"),
        ("/v1/things/one", "direct one /things/{name} {'name': 'one'}"),
        ("/things/a%20b", "direct a b /things/{name} {'name': 'a b'}"),
    ],
)
async def test_the_route_is_called_by_itself_with_its_parameters(path: str, answer: str) -> None:
    async with _client(gateway()) as client:
        assert (await client.get(path)).text == answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/things/one", 405),
        ("GET", "/things/one/two", 404),
        ("GET", "/v1/v1/things/one", 404),
        ("GET", "/v1things/one", 404),
    ],
)
async def test_whatever_is_not_its_own_goes_to_the_router(method: str, path: str, status: int) -> None:
    async with _client(gateway()) as client:
        assert (await client.request(method, path)).status_code == status


async def test_below_another_server_s_path_the_router_is_asked() -> None:
    transport = httpx.ASGITransport(app=gateway(), root_path="/below")
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/below/things/one")).text.startswith("router one")


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x")
