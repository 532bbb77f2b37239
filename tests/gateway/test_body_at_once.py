"""A body that came with its head is counted by its announced length, and nobody's clock runs for it."""

import asyncio
import time

import pytest
from rig.wire import connected
from starlette.requests import Request

from service.api.body import read_json
from service.limits import BODY_IS_HERE, BodyLimit, Pace
from service.refusals import BodyTooLarge, UnreadableBody

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


async def read(*pieces: bytes, most: int = 100) -> tuple[bytes, bool, object]:
    """What the app reads when these pieces arrive one by one; whether it was all there; what was refused."""
    outcome = []

    async def app(scope, receive, send):
        there, body, more = BODY_IS_HERE in scope, b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        outcome.append((body, there, None))

    limited = BodyLimit(app, most, most, Pace(10.0, 10.0, 0.0), max_arriving=1)

    async def answering(scope, receive, send):
        try:
            await limited(scope, receive, send)
        except BodyTooLarge as refusal:
            outcome.append((b"", BODY_IS_HERE in scope, refusal))
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    connection, _ = connected(answering)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    while not outcome:
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return outcome[0]


async def test_it_is_there_when_it_came_in_one_piece_with_its_head() -> None:
    assert await read(HEAD + b"content-length: 5\r\n\r\nhello") == (b"hello", True, None)


ASKED = HEAD + b"content-length: 30\r\n\r\n" + b"h" * 30


@pytest.mark.parametrize("cut", [1, len(ASKED) - 31, len(ASKED) - 30, len(ASKED) - 1])
async def test_it_is_not_when_the_rest_came_behind_its_reader(cut: int) -> None:
    whole, early, refused = await read(ASKED[:cut], ASKED[cut:])
    assert (whole, refused) == (b"h" * 30, None)
    assert early == (cut < len(ASKED) - 30)  # until the head is whole nobody reads


async def test_a_length_that_chunks_make_a_lie_is_not_believed() -> None:
    chunked = HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"
    _, early, refused = await read(chunked + b"c8\r\n" + b"h" * 200 + b"\r\n0\r\n\r\n")
    assert early
    assert "at most 100 bytes" in str(refused)


async def test_the_announced_length_is_refused_all_the_same() -> None:
    _, _, refused = await read(HEAD + b"content-length: 101\r\n\r\n" + b"h" * 101)
    assert "at most 100 bytes, got 101" in str(refused)


async def test_zeros_in_front_hide_nothing_of_the_announced_length() -> None:
    body, _, refused = await read(HEAD + b"content-length: 00000000000000000300\r\n\r\n" + b"h" * 300)
    assert body == b""
    assert "at most 100 bytes, got 300" in str(refused)


async def test_a_body_in_crumbs_costs_as_many_steps_as_it_has_bytes() -> None:
    crumbs = iter(range(2**16, -1, -1))

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b" " * 64, "more_body": next(crumbs) > 0}

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    began = time.thread_time()
    with pytest.raises(UnreadableBody):
        await read_json(Request(scope, receive))
    assert time.thread_time() - began < 1


async def test_bodies_that_are_there_take_no_place_of_those_on_their_way() -> None:
    slow, _ = connected(BodyLimit(_reader, 100, 100, Pace(10.0, 10.0, 0.0), max_arriving=1))
    slow.data_received(HEAD + b"content-length: 5\r\n\r\nh")
    await asyncio.sleep(0)
    assert await read(HEAD + b"content-length: 5\r\n\r\nhello") == (b"hello", True, None)
    slow.connection_lost(None)
    await asyncio.sleep(0)


async def _reader(scope, receive, send):
    while (await receive()).get("more_body"):
        pass


@pytest.mark.parametrize("lie", [b"0", b"00", b"3"])
async def test_a_body_in_chunks_is_counted_whatever_length_is_announced(lie: bytes) -> None:
    chunked = HEAD + b"content-length: " + lie + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    _, _, refused = await read(chunked, b"c8\r\n" + b"h" * 200 + b"\r\n0\r\n\r\n")
    assert "at most 100 bytes" in str(refused)
