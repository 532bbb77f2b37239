"""What the client makes of bytes that are no stream, of streams that end at once, and of pieces."""

from collections.abc import Iterator

import httpx
import pytest

from service.client import Client, Unintelligible, Unreachable, VideoEvent


@pytest.mark.parametrize(
    "said",
    [
        b"event: video.queued\ndata: no JSON\n\n",
        b'id: evt_1_1\nevent: video.queued\ndata: {"data": {"id": 1}}\n\n',
        b'event: video.preview\ndata: {"created_at": 1, "data": {"id": "a", "picture": "http://x"}}\n\n',
        b"data: " + b"x" * 2_000_000,
    ],
)
def test_what_is_no_stream_of_this_api_is_named(said: bytes) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=said)

    with (
        Client("http://gateway", transport=httpx.MockTransport(answer)) as client,
        pytest.raises(Unintelligible),
    ):
        list(client.events("video_1"))


def test_streams_that_end_before_they_say_anything_are_given_up() -> None:
    """A proxy may answer 200 for a gateway that is not there; waiting for it has an end."""
    slept: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"retry: 5\n\n")

    client = Client(
        "http://gateway",
        patience_s=5.0,
        transport=httpx.MockTransport(answer),
        clock=lambda: sum(slept),
        sleep=slept.append,
    )
    with client, pytest.raises(Unreachable, match="before it has said anything"):
        list(client.events("video_1"))
    assert 3 <= sum(slept) <= 5


def test_lines_and_characters_may_come_in_pieces_and_end_by_crlf() -> None:
    """As a proxy may send them on."""
    whole = (
        'id: evt_a_1\r\nevent: video.queued\r\ndata: {"created_at": 1,\r\n'
        'data: "data": {"id": "a", "state": "queued", "status": "queued", "reason": "größer"}}'
        "\r\n\r\n: x\r\n\r\n"
    ).encode()

    class Dribble(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for byte in whole:
                yield bytes([byte])

    answers = iter(
        [
            httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Dribble()),
            httpx.Response(204),
        ]
    )
    transport = httpx.MockTransport(lambda _: next(answers))
    with Client("http://gateway", transport=transport, sleep=lambda _: None) as client:
        (event,) = client.events("video_1")
    assert isinstance(event, VideoEvent)
    assert (event.id, event.video_id, event.reason) == ("evt_a_1", "a", "größer")
