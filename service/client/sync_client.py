"""The client that waits for each answer."""

import errno
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self, Unpack
from urllib.parse import quote

import httpx

from service.client.answers import (
    MicroCinemaError,
    Unintelligible,
    Unreachable,
    Video,
    VideoOptions,
    read_video,
    refusal,
)

POLL_S = 0.5
LONGEST_RETRY_WAIT_S = 10.0
_WORTH_RETRYING = frozenset({429, 503})


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
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(
            base_url=_checked_url(url), timeout=timeout_s, transport=transport, headers=headers
        )
        self._patience_s = patience_s
        self._clock = clock
        self._sleep = sleep

    def create(
        self,
        prompt: str,
        *,
        picture: Path | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[VideoOptions],
    ) -> Video:
        """Ask for a video.

        `picture` (PNG, JPEG or WebP) takes the place of the keyframe that is otherwise made from the text.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        asked: dict[str, Any] = {"prompt": prompt, **options}
        if picture is None:
            # All that Python can write, NaN and lone surrogates too: the gateway names field and bound.
            headers["Content-Type"] = "application/json"
            return self._video("POST", "/videos", content=json.dumps(asked), headers=headers)
        pairs = asked.pop("metadata", {})
        form = {name: _form_text(value) for name, value in asked.items()}
        form |= {f"metadata[{name}]": _form_text(value) for name, value in pairs.items()}
        files = {"input_reference": (picture.name, picture.read_bytes())}
        return self._video("POST", "/videos", data=form, files=files, headers=headers)

    def get(self, video_id: str) -> Video:
        """The job as it stands now."""
        return self._video("GET", _path(video_id))

    def wait(
        self,
        video_id: str,
        *,
        on_progress: Callable[[Video], None] | None = None,
        timeout_s: float | None = None,
    ) -> Video:
        """Poll until the job is over or waits for `approve`; `on_progress` gets every answer, also the last.

        Raises TimeoutError after `timeout_s` seconds; the job goes on all the same.
        """
        started = self._clock()
        while True:
            video = self.get(video_id)
            if on_progress is not None:
                on_progress(video)
            if video.over or video.awaits_approval:
                return video
            if timeout_s is not None and self._clock() - started > timeout_s:
                raise TimeoutError(f"{video_id} is {video.state} ({video.progress} %) after {timeout_s:g} s")
            self._sleep(POLL_S)

    def list_videos(self, *, limit: int = 20) -> Iterator[Video]:
        """Jobs, the newest first, `limit` (1 to 100) a page; pages are fetched as they are needed."""
        after: dict[str, str] = {}
        while True:
            page = self._page("/videos", params={"limit": limit, **after})
            yield from map(read_video, page["data"])
            if not page.get("has_more"):
                return
            after = {"after": page["last_id"]}

    def approve(
        self,
        video_id: str,
        *,
        candidate: int | None = None,
        picture: Path | None = None,
        fit: Literal["exact", "cover", "contain"] | None = None,
    ) -> Video:
        """Let a job that was asked for with `pause_after="image"` go on, from one of its candidates or from
        `picture`. Of one candidate its number may be left out."""
        chosen = {"candidate": candidate, "fit": fit}
        told = {name: value for name, value in chosen.items() if value is not None}
        path = f"{_path(video_id)}/approve"
        if picture is None:
            return self._video("POST", path, json=told)
        files = {"input_reference": (picture.name, picture.read_bytes())}
        form = {name: _form_text(value) for name, value in told.items()}
        return self._video("POST", path, data=form, files=files)

    def cancel(self, video_id: str) -> Video:
        """Stop the job: at once while it waits, within one denoising step while it runs."""
        return self._video("POST", f"{_path(video_id)}/cancel")

    def delete(self, video_id: str) -> None:
        """Forget the job and its artifacts; a job that still waits or runs is cancelled first."""
        self._json("DELETE", _path(video_id))

    def download(self, video_id: str, path: Path, *, variant: Literal["video", "image"] = "video") -> None:
        """Write the MP4 (or the keyframe PNG) to `path`, whole or not at all. Raises OSError if it cannot."""
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        draft = path.with_name(path.name + ".part")

        def fetch() -> httpx.Response:
            with (
                self._http.stream(
                    "GET",
                    f"{_path(video_id)}/content",
                    params={"variant": variant},
                    follow_redirects=True,
                ) as answer,
                draft.open("wb") as file,
            ):
                if answer.is_success:
                    for piece in answer.iter_bytes():
                        file.write(piece)
                else:
                    answer.read()
            return answer

        try:
            self._patiently(fetch)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def models(self) -> list[dict[str, Any]]:
        """The models and their bounds."""
        return list(self._page("/models")["data"])

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether the gateway can take work now, and its parts as it sees them. Asked once, not retried."""
        try:
            answer = self._http.get("/readyz")
            parts = answer.json()
        except (httpx.TransportError, ValueError) as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error
        return answer.is_success, dict(parts) if isinstance(parts, dict) else {}

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _json(self, method: str, path: str, **request: Any) -> Any:
        answer = self._patiently(lambda: self._http.request(method, path, **request))
        try:
            return answer.json()
        except ValueError as error:
            raise Unintelligible(f"{self._http.base_url} answers {path} with no JSON: {error}") from error

    def _page(self, path: str, **request: Any) -> dict[str, Any]:
        page = self._json("GET", path, **request)
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise Unintelligible(f"{self._http.base_url} answers {path} with no list of this API")
        return page

    def _video(self, method: str, path: str, **request: Any) -> Video:
        return read_video(self._json(method, path, **request))

    def _patiently(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """The first good answer; raises a MicroCinemaError when it is refused or patience is over."""
        deadline = self._clock() + self._patience_s
        wait_s = 0.2
        while True:
            try:
                answer = ask()
            except httpx.TransportError as error:
                fault: MicroCinemaError = Unreachable(f"{self._http.base_url} does not answer: {error}")
                fault.__cause__ = error
            else:
                if answer.is_success:
                    return answer
                fault = refusal(answer)
                if answer.status_code not in _WORTH_RETRYING:
                    raise fault
                wait_s = max(wait_s, _retry_after_s(answer))
            if self._clock() + wait_s > deadline:
                raise fault
            self._sleep(wait_s)
            wait_s = min(LONGEST_RETRY_WAIT_S, 2 * wait_s)


def _retry_after_s(answer: httpx.Response) -> float:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else 0.0


def _path(video_id: str) -> str:
    """As one segment: an id such as `../models` must not lead elsewhere, and none at all not to the list."""
    if not video_id:
        raise ValueError("video_id must be the id of a video, got ''")
    return f"/videos/{quote(video_id, safe='')}"


def _form_text(value: object) -> bytes:
    """Lone surrogates as they are: the gateway says what is wrong with them."""
    return str(value).encode("utf-8", "surrogatepass")


def _checked_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Unreachable(f"{url!r} is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unreachable(f"{url!r} is no http or https URL with a host")
    return parsed
