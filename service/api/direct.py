"""Routes that are asked all the time, called without the router's search and FastAPI's way of calling.

Such a route reads its request itself and answers with a Response, so there is nothing for dependencies, exit
stacks and a search through every route to do: they were a quarter of what a poll costs. It is declared like
every other one, and OpenAPI, HEAD and the refusals of wrong methods come from that declaration.
"""

from collections.abc import Collection

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class Direct:
    """The innermost layer: `routes` by themselves, below `prefix` too; whatever else goes to the router.

    Each takes the request and its path's parameters as text, by name, and returns a Response.
    """

    def __init__(self, app: ASGIApp, routes: Collection[APIRoute], prefix: str) -> None:
        self.app = app
        self._prefix = prefix
        self._routes = [(method, route) for route in routes for method in route.methods or ()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            path = scope["path"].removeprefix(self._prefix)
            for method, route in self._routes:
                if method == scope["method"] and (found := route.path_regex.match(path)):
                    scope["route"], scope["path_params"] = route, found.groupdict()
                    answer = await route.endpoint(Request(scope, receive, send), **scope["path_params"])
                    await answer(scope, receive, send)
                    return
        await self.app(scope, receive, send)
