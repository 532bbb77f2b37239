"""An answer's head and body go to the kernel together, and nothing waits for what does not come."""

import asyncio

from rig.wire import Wire, connected

ASKED = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LONG = b"y" * 100_000


async def answered(*pieces: bytes, asked: bytes = ASKED, between: int = 0) -> Wire:
    """The wire after an answer of these pieces, the loop turning `between` times before each."""

    async def app(scope, receive, send):
        length = [] if len(pieces) > 1 else [(b"content-length", str(len(pieces[0])).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for number, piece in enumerate(pieces, start=1):
            for _ in range(between):
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    connection, wire = connected(app)
    connection.data_received(asked)
    while not connection.cycle.response_complete:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    return wire


async def test_head_and_body_are_one_call() -> None:
    (call,) = (await answered(b"whole")).calls
    assert call.startswith(b"HTTP/1.1 200")
    assert call.endswith(b"\r\n\r\nwhole")


async def test_a_streamed_answer_that_is_there_at_once_is_one_call_too() -> None:
    (call,) = (await answered(b"one", b"two")).calls
    assert call.endswith(b"one\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_head_does_not_wait_for_a_body_that_comes_later() -> None:
    head, first, *_ = (await answered(b"one", b"two", between=3)).calls
    assert head.endswith(b"\r\n\r\n")
    assert b"one" in first
    assert b"two" not in first


async def test_an_answer_without_a_body_leaves_too() -> None:
    (call,) = (await answered(b"", asked=ASKED.replace(b"GET", b"HEAD"))).calls
    assert call.startswith(b"HTTP/1.1 200")


async def test_what_is_kept_back_leaves_before_the_connection_ends() -> None:
    wire = await answered(b"last", asked=ASKED.replace(b"host", b"connection: close\r\nhost"))
    assert wire.closed
    assert b"last" in b"".join(wire.calls)


async def test_long_pieces_arrive_in_order() -> None:
    body = b"".join((await answered(b"a", LONG, b"b", LONG, b"c")).calls)
    assert body.count(LONG) == 2
    assert body.index(b"\r\na\r\n") < body.index(LONG) < body.index(b"\r\nb\r\n") < body.rindex(LONG)
