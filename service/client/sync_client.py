"""The client that waits for each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeAlias, TypeVar, overload

import httpx
from pydantic import BaseModel

from service.client import calls, webhook_calls
from service.client.address import checked_url, key_headers, read_readiness
from service.client.answers import Page
from service.client.asking import Asking, Pause, Program, Running, Send
from service.client.downloading import download
from service.client.errors import Unreachable
from service.client.events import Heard
from service.client.listening import Listening, listen
from service.client.waiting import wait

P = ParamSpec("P")
T = TypeVar("T")
Hearing: TypeAlias = Generator[Heard, None, None]
Noun = TypeVar("Noun", bound=BaseModel)


class _Method(Generic[P, T]):
    """A program as a method: its arguments, its documentation, its answer."""

    def __init__(self, program: Callable[Concatenate[Asking, P], Program[T]]) -> None:
        self._program = program
        self.__doc__ = program.__doc__

    @overload
    def __get__(self, client: None, owner: type[Client]) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, T]: ...
    def __get__(self, client: Client | None, owner: type[Client]) -> Self | Callable[P, T]:
        if client is None:
            return self

        def ask(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.run(self._program(client.asking, *args, **kwargs))

        return update_wrapper(ask, self._program)


class _Pages(Generic[P, Noun]):
    """A list as a method: an iterator that fetches pages as they are needed."""

    def __init__(self, turn: Callable[Concatenate[Asking, str | None, P], Program[Page[Noun]]]) -> None:
        self._turn = turn
        self.__doc__ = turn.__doc__

    @overload
    def __get__(self, client: None, owner: type[Client]) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, Iterator[Noun]]: ...
    def __get__(self, client: Client | None, owner: type[Client]) -> Self | Callable[P, Iterator[Noun]]:
        if client is None:
            return self

        def pages(*args: P.args, **kwargs: P.kwargs) -> Iterator[Noun]:
            after, more = None, True
            while more:
                page = client.run(self._turn(client.asking, after, *args, **kwargs))
                yield from page.data
                after, more = page.next_after, page.next_after is not None

        return update_wrapper(pages, self._turn)


class _Stream(Generic[P]):
    """A stream as a method: an iterator that opens connections as they are needed."""

    def __init__(self, listen: Callable[Concatenate[Asking, P], Listening]) -> None:
        self._listen = listen
        self.__doc__ = listen.__doc__

    @overload
    def __get__(self, client: None, owner: type[Client]) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, Hearing]: ...
    def __get__(self, client: Client | None, owner: type[Client]) -> Self | Callable[P, Hearing]:
        if client is None:
            return self

        def heard(*args: P.args, **kwargs: P.kwargs) -> Hearing:
            return client.follow(self._listen(client.asking, *args, **kwargs))

        return update_wrapper(heard, self._listen)


class Client:
    """Speaks to the gateway at `url`, with `api_key` where that asks for one.

    Connection faults, 429 and 503 are retried for `patience_s` seconds, with the server's Retry-After where
    it gives one. That is safe for `create` too: every call carries an Idempotency-Key. A `url` that can lead
    nowhere raises Unreachable at once.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        patience_s: float = 30.0,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=checked_url(url), timeout=timeout_s, transport=transport, headers=key_headers(api_key)
        )
        self._sleep = sleep
        self.asking = Asking(str(self._http.base_url), patience_s, clock)

    create = _Method(calls.create)
    estimate = _Method(calls.estimate)
    remix = _Method(calls.remix)
    extend = _Method(calls.extend)
    reproduce = _Method(calls.reproduce)
    receipt = _Method(calls.receipt)
    get = _Method(calls.get)
    wait = _Method(wait)
    events = _Stream(listen)
    list_videos = _Pages(calls.video_page)
    approve = _Method(calls.approve)
    cancel = _Method(calls.cancel)
    delete = _Method(calls.delete)
    download = _Method(download)
    models = _Method(calls.models)
    model = _Method(calls.model)
    deliveries = _Pages(webhook_calls.delivery_page)
    create_endpoint = _Method(webhook_calls.create_endpoint)
    endpoints = _Method(webhook_calls.endpoints)
    endpoint = _Method(webhook_calls.endpoint)
    change_endpoint = _Method(webhook_calls.change_endpoint)
    delete_endpoint = _Method(webhook_calls.delete_endpoint)
    rotate_endpoint = _Method(webhook_calls.rotate_endpoint)
    ping_endpoint = _Method(webhook_calls.ping_endpoint)
    endpoint_deliveries = _Pages(webhook_calls.endpoint_delivery_page)
    redeliver = _Method(webhook_calls.redeliver)
    redeliver_endpoint = _Method(webhook_calls.redeliver_endpoint)

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether the gateway can take work now, and its parts as it sees them. Asked once, not retried."""
        try:
            return read_readiness(self._http.get("/readyz"))
        except (httpx.TransportError, ValueError) as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error

    def run(self, program: Program[T]) -> T:
        """Do what the program yields until it returns."""
        running = Running(program)
        try:
            while (effect := running.effect) is not None:
                if isinstance(effect, Pause):
                    self._sleep(effect.seconds)
                    running.done()
                    continue
                try:
                    answer = self._send(effect)
                except httpx.TransportError as fault:
                    running.failed(fault)
                else:
                    running.done(answer)
        finally:
            program.close()
        return running.result

    def follow(self, listening: Listening) -> Hearing:
        """Open the connections that it asks for until it is over; each event as it comes."""
        while not listening.ended():
            call = listening.call
            try:
                with self._http.stream(call.method, call.path, **call.sent) as answer:
                    if not answer.is_success:
                        answer.read()
                    if listening.begins(answer):
                        for piece in answer.iter_bytes():
                            yield from listening.hear(piece)
                            if listening.ended():
                                return
            except httpx.TransportError as fault:
                listening.cut(fault)
            if not listening.ended():
                self._sleep(listening.pause_s())

    def _send(self, effect: Send) -> httpx.Response:
        call = effect.call
        if effect.receive is None:
            return self._http.request(call.method, call.path, **call.sent)
        with self._http.stream(call.method, call.path, follow_redirects=True, **call.sent) as answer:
            sink = effect.receive(answer)
            if sink is None:
                answer.read()
            else:
                for piece in answer.iter_bytes():
                    sink(piece)
        return answer

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
