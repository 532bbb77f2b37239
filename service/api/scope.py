"""Around every request: its id, its log line, its metrics, and an answer even when the rest fails."""

import re
from collections.abc import Callable, Container, Mapping
from random import Random

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answer_headers import add_missing, asked, header_of, raw
from service.api.problems import InternalError, problem_response
from service.auth import OWNER
from service.contracts.ids import is_id
from service.logs import bound, get_logger
from service.metrics import GatewayMetrics
from service.refusals import ABOUT_JOB, ANSWER_HEADERS, Refusal

#: Names of requests are no secrets, nothing opens by them; to ask the kernel for each takes far longer.
_IDS = Random()
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
#: What nginx logs for a client that hung up; no client ever sees it.
CLIENT_GONE = 499

log = get_logger(__name__)


class OnePath:
    """A path with a slash at its end is the path without it: same method, same body, same answer.

    The router's own way is a redirect. Many clients do not follow one with a body, and behind a proxy it
    would name an address that is not theirs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"][:-1]}
        await self.app(scope, receive, send)


class RequestScope:
    """Outside all that may refuse: what those raise becomes an answer here.

    `clock` gives seconds of any origin that only grow; paths in `quiet` are logged for debugging only.
    """

    def __init__(
        self, app: ASGIApp, metrics: GatewayMetrics, clock: Callable[[], float], quiet: Container[str]
    ) -> None:
        self.app = app
        self.quiet = quiet
        self.metrics = metrics
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(asked(scope, b"x-request-id"))
        answer = _Answer(send, request_id, self.clock, scope.setdefault(ANSWER_HEADERS, {}))
        began = self.clock()
        with bound(request_id=request_id):
            self.metrics.in_progress += 1
            try:
                await self._guarded(scope, receive, answer, request_id)
            finally:
                # A stream lasts as long as its job: what it took is the time until it began.
                seconds = (answer.streams_since or self.clock()) - began
                route = _template(scope)
                self.metrics.in_progress -= 1
                self.metrics.observe(scope["method"], route, answer.status, seconds)
                # Probes come every second: their lines would bury the rest.
                tell = log.debug if scope["path"] in self.quiet else log.info
                tell(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=answer.status,
                    duration_ms=round(seconds * 1000, 1),
                    **_about(scope),
                )

    async def _guarded(self, scope: Scope, receive: Receive, answer: "_Answer", request_id: str) -> None:
        try:
            await self.app(scope, receive, answer.send)
            return
        except ClientDisconnect:
            answer.status = CLIENT_GONE
            return
        except Refusal as refusal:
            outcome = refusal
        except Exception:
            log.exception("request_failed", route=_template(scope))
            outcome = InternalError(f"something went wrong here; please report request id {request_id}")
        if answer.started:  # half an answer is out: closing the connection is the only honest end
            log.warning("answer_cut", code=outcome.code)
            raise ConnectionAbortedError(outcome.code)
        self.metrics.count_refusal(outcome.code)
        response = problem_response(outcome, instance=scope["path"], request_id=request_id)
        await response(scope, receive, answer.send)


class _Answer:
    """Marks every answer with the request id and what middlewares `left` for it.

    Remembers its status: 499 until one begins.
    """

    def __init__(
        self, send: Send, request_id: str, clock: Callable[[], float], left: Mapping[str, str]
    ) -> None:
        self._send, self._clock, self._left = send, clock, left
        self.streams_since: float | None = None
        self._request_id = request_id
        self.status = CLIENT_GONE
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            if header_of(message, b"content-type").startswith(b"text/event-stream"):
                self.streams_since = self._clock()
            told = (b"x-request-id", self._request_id.encode("latin-1"))
            add_missing(message, (told, *raw(self._left)) if self._left else (told,))
        await self._send(message)


def _request_id(given: str | None) -> str:
    """The client's own id if it is fit for a log line, else a new one."""
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return f"req_{_IDS.getrandbits(96):024x}"


def _about(scope: Scope) -> dict[str, str]:
    """Whose request it was, and about which job, as far as that is known: words of ours, no free text."""
    found = {"tenant": scope[OWNER]} if OWNER in scope else {}
    job = scope.get(ABOUT_JOB) or scope.get("path_params", {}).get("video_id", "")
    return {**found, "job_id": job} if is_id(job) else found


def _template(scope: Scope) -> str:
    """`/videos/{video_id}`, never a path: ids would make a time series each."""
    path: str = getattr(scope.get("route"), "path", "unmatched")
    return path
