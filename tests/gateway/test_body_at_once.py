"""A body that came with its head is counted by its announced length, and nobody's clock runs for it."""

import asyncio

import pytest
from rig.wire import connected

from service.limits import BODY_IS_HERE, BodyLimit, Pace
from service.refusals import BodyTooLarge

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
