"""How the client asks, without a socket: what to send, when to ask again, and when to give up.

A program is a generator. It yields what is to be done (`Send`, `Pause`), gets the answer or the fault of the
connection back, and returns what was asked for. `Client` and `AsyncClient` do what programs yield, one
waiting, the other awaiting; everything else is here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar

import httpx

from service.client.errors import MicroCinemaError, Unreachable, refusal

T = TypeVar("T")
P = ParamSpec("P")

FIRST_PAUSE_S = 0.2
LONGEST_RETRY_WAIT_S = 10.0
_WORTH_RETRYING = frozenset({429, 503})

#: Takes the body of one answer, piece by piece.
Sink: TypeAlias = Callable[[bytes], object]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read. `path` is below the gateway's URL; `sent` is for httpx.

    `repeatable`: asked twice it does no more than asked once, so a lost answer is asked for again.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    sent: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True


@dataclass(frozen=True)
class Send:
    """Send this. `receive` looks at the answer's head and says where its body goes (None: read it whole)."""

    call: Call[Any]
    receive: Callable[[httpx.Response], Sink | None] | None = None


@dataclass(frozen=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


Effect: TypeAlias = Send | Pause
Program: TypeAlias = Generator[Effect, httpx.Response | None, T]


@dataclass(frozen=True)
class Asking:
    """What all programs of one client share: its gateway's name in sentences, its patience in seconds and
    its clock (seconds of any origin that only grow)."""

    gateway: str
    patience_s: float
    clock: Callable[[], float]

    def answered(
        self, call: Callable[[], Call[T]], receive: Callable[[httpx.Response], Sink | None] | None = None
    ) -> Program[httpx.Response]:
        """The first good answer; raises a MicroCinemaError when it is refused or patience is over.

        `call` is asked anew for every try: a download goes on where the last one was cut.
        """
        deadline = self.clock() + self.patience_s
        wait_s = FIRST_PAUSE_S
        while True:
            asked = call()
            try:
                answer = yield Send(asked, receive)
            except httpx.TransportError as error:
                fault: MicroCinemaError = Unreachable(f"{self.gateway} does not answer: {error}")
                fault.__cause__ = error
                if not asked.repeatable and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise fault from error  # it may have been done: nobody can tell from here
            else:
                assert answer is not None
                if answer.is_success:
                    return answer
                fault = refusal(answer)
                if not may_be_repeated(answer):
                    raise fault
                wait_s = max(wait_s, retry_after_s(answer))
            if self.clock() + wait_s > deadline:
                raise fault
            yield Pause(wait_s)
            wait_s = min(LONGEST_RETRY_WAIT_S, 2 * wait_s)


def asked(build: Callable[P, Call[T]]) -> Callable[Concatenate[Asking, P], Program[T]]:
    """The program of one call: ask until there is an answer, and read it."""

    def program(asking: Asking, /, *args: P.args, **kwargs: P.kwargs) -> Program[T]:
        call = build(*args, **kwargs)
        return call.read((yield from asking.answered(lambda: call)))

    program.__name__, program.__doc__ = build.__name__, build.__doc__
    return program


class Running(Generic[T]):
    """A program under way: `effect` is what it wants done (None: it is over), `result` what it returned."""

    def __init__(self, program: Program[T]) -> None:
        self._program = program
        self.effect: Effect | None = None
        self._result: list[T] = []
        self._step(lambda: next(program))

    @property
    def result(self) -> T:
        return self._result[0]

    def done(self, answer: httpx.Response | None = None) -> None:
        """The effect was carried out."""
        self._step(lambda: self._program.send(answer))

    def failed(self, fault: httpx.TransportError) -> None:
        """The effect could not be carried out."""
        self._step(lambda: self._program.throw(fault))

    def _step(self, go_on: Callable[[], Effect]) -> None:
        try:
            self.effect = go_on()
        except StopIteration as end:
            self.effect = None
            self._result.append(end.value)


def retry_after_s(answer: httpx.Response) -> float:
    """The seconds that the answer asks to wait (RFC 9110, 10.2.3: a number or a date); 0 if it does not."""
    said = answer.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdecimal():
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        now = parsedate_to_datetime(answer.headers["date"])  # the server's clock, not this machine's
    except (KeyError, ValueError):
        now = datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def may_be_repeated(answer: httpx.Response) -> bool:
    """Whether this refusal may pass by itself."""
    told = answer.headers.get("x-should-retry", "").lower()
    return answer.status_code in _WORTH_RETRYING and told != "false"
