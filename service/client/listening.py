"""A video's stream of events without a socket: where to come back to, when, and when to give up.

`Client` and `AsyncClient` open the connections that a Listening asks for and give it what comes.
"""

import codecs
import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from service.client.answers import Video
from service.client.asking import (
    FIRST_PAUSE_S,
    LONGEST_RETRY_WAIT_S,
    Asking,
    Call,
    may_be_repeated,
    retry_after_s,
)
from service.client.calls import video_path
from service.client.errors import MicroCinemaError, Unintelligible, Unreachable, refusal
from service.client.events import Heard, VideoEvent, VideoPreview, VideoReset

#: One event is never as long: its preview has 64 KiB at most.
LONGEST_EVENT = 1024 * 1024


class Listening:
    """One video's events over as many connections as it takes."""

    def __init__(self, asking: Asking, video_id: str, previews: bool, last_event_id: str | None) -> None:
        self._asking, self._video_id, self._previews = asking, video_id, previews
        self._last_event_id = last_event_id
        self._wire = _Wire()
        self._heard_at = asking.clock()
        self._retry_s = 1.0
        self._wait_s = FIRST_PAUSE_S
        self._fault: MicroCinemaError | None = None
        self._over = False

    def ended(self) -> bool:
        """Whether no more comes: the video is over."""
        return self._over

    @property
    def call(self) -> Call[None]:
        """The next connection: from the beginning, or behind the last event that was heard."""
        headers = {"Accept": "text/event-stream"}
        if self._last_event_id is not None:
            headers["Last-Event-ID"] = self._last_event_id
        params = {} if self._previews else {"previews": "false"}
        sent = {"headers": headers, "params": params}
        return Call("GET", f"{video_path(self._video_id)}/events", lambda _: None, sent)

    def begins(self, answer: httpx.Response) -> bool:
        """Whether events follow. The body of an answer that is no success must have been read.

        Raises the refusal if asking again will not help, and where too many listen: then poll.
        """
        self._wire = _Wire()
        if answer.status_code == httpx.codes.NO_CONTENT:
            self._over = True
            return False
        if not answer.is_success:
            refused = refusal(answer)
            if not may_be_repeated(answer) or refused.code == "too_many_listeners":
                raise refused
            self._fault, self._wait_s = refused, max(self._wait_s, retry_after_s(answer))
            return False
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise Unintelligible(f"{answer.url} answers with no stream of events")
        self._fault = Unreachable(f"{self._asking.gateway} ends its streams before it has said anything")
        return True

    def hear(self, piece: bytes) -> Iterator[Heard]:
        """The events that a piece of the stream completes. Raises Unintelligible."""
        for fields in self._wire.take(piece):
            if (retry := fields.get("retry", "")).isdecimal():
                self._retry_s = min(LONGEST_RETRY_WAIT_S, int(retry) / 1000)
                continue
            self._heard_at, self._fault, self._wait_s = self._asking.clock(), None, FIRST_PAUSE_S
            if "data" not in fields:
                continue  # a comment: the stream is alive
            heard = _read(fields)
            self._last_event_id = fields.get("id", self._last_event_id)
            self._over = heard.over
            yield heard
            if self._over:
                return

    def cut(self, fault: httpx.TransportError) -> None:
        """The connection is gone, or there was none."""
        self._fault = Unreachable(f"{self._asking.gateway} does not answer: {fault}")
        self._fault.__cause__ = fault

    def pause_s(self) -> float:
        """How long to wait before the next connection. Raises what was wrong, once patience is over.

        Patience counts from the last sign of life.
        """
        if self._fault is None:
            return self._retry_s
        if self._asking.clock() + self._wait_s > self._heard_at + self._asking.patience_s:
            raise self._fault
        wait_s, self._wait_s = self._wait_s, min(LONGEST_RETRY_WAIT_S, 2 * self._wait_s)
        return wait_s


def listen(
    asking: Asking, video_id: str, *, previews: bool = True, last_event_id: str | None = None
) -> Listening:
    """What happens to a video, as it happens, until it is over: `VideoEvent`, `VideoPreview`, `VideoReset`.

    From its first event on, or behind `last_event_id`. A connection that is cut is opened again behind the
    last event that was heard: none is lost or told twice. Where the gateway's log does not reach back, a
    `VideoReset` brings the whole video. Patience counts from the last sign of life. Without `previews` no
    pictures are sent. Close the iterator, or read it to its end, to end the connection.
    """
    return Listening(asking, video_id, previews, last_event_id)


class _Wire:
    """Bytes to server-sent events (WHATWG HTML, 9.2.6), whose lines end by LF or CRLF."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def take(self, piece: bytes) -> Iterator[Mapping[str, str]]:
        """The fields of each block that this piece completes; a block of comments has none."""
        *blocks, self._rest = (self._rest + self._text.decode(piece)).replace("\r\n", "\n").split("\n\n")
        if len(self._rest) > LONGEST_EVENT:
            raise Unintelligible(f"an event is at most {LONGEST_EVENT} characters long, this one is longer")
        for block in blocks:
            fields: dict[str, str] = {}
            for line in block.split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
            fields.pop("", None)  # a comment
            yield fields


def _read(fields: Mapping[str, str]) -> Heard:
    kind = fields.get("event", "message")
    try:
        said: dict[str, Any] = json.loads(fields["data"])
        if kind == "reset":
            return VideoReset(id=fields["id"], video=Video.model_validate(said))
        facts = {**said["data"], "video_id": said["data"]["id"], "created_at": said["created_at"]}
        if kind == "video.preview":
            return VideoPreview.model_validate(facts)
        return VideoEvent.model_validate({**facts, "id": fields["id"], "type": kind})
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise Unintelligible(f"{kind} is no event of this API: {type(error).__name__}: {error}") from None
