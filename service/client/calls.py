"""The routes of the API, each once: what is sent and how the answer is read. `Client` and `AsyncClient` take
their methods from here."""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import quote

import httpx

from service.client.answers import Estimate, Model, Page, Receipt, Video, json_of, reading
from service.client.asking import Call, asked
from service.client.errors import Unintelligible

#: A file, or the text of an https URL or data URL. Text that is no such URL names a file.
Picture = Path | str
Fit = Literal["exact", "cover", "contain"]
URL_STARTS = ("https://", "http://", "data:")


class VideoOptions(TypedDict, total=False):
    """What may be asked besides the prompt; each default and bound is the model's (`Client.models`)."""

    model: str
    size: str
    seconds: float
    num_frames: int
    fps: int
    seed: int
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    gamma: float
    sampler: str
    priority: int
    start_by: str | float
    finish_by: str | float
    expires_after: str | float
    fit: Fit
    pause_after: Literal["image"]
    candidates: int
    approve_within: str | float
    webhook_url: str
    webhook_events: Sequence[str]
    metadata: dict[str, str]


class ReproduceOptions(TypedDict, total=False):
    """What a reproduction has of its own: nothing that a frame depends on."""

    priority: int
    start_by: str | float
    finish_by: str | float
    expires_after: str | float
    webhook_url: str
    webhook_events: Sequence[str]
    metadata: dict[str, str]


@asked
def create(
    prompt: str,
    *,
    picture: Picture | None = None,
    idempotency_key: str | None = None,
    wait_s: int | None = None,
    **options: Unpack[VideoOptions],
) -> Call[Video]:
    """Ask for a video.

    `picture` (PNG, JPEG or WebP) takes the place of the keyframe that is otherwise made from the text.
    `wait_s`: the gateway holds its answer until the job has ended, so many seconds and 60 at most.
    """
    return _new_video("/videos", {"prompt": prompt, **options}, picture, idempotency_key, wait_s)


@asked
def estimate(
    prompt: str, *, picture: Picture | None = None, **options: Unpack[VideoOptions]
) -> Call[Estimate]:
    """What this video would cost; nothing is accepted."""
    return Call("POST", "/videos/estimate", reading(Estimate), _body({"prompt": prompt, **options}, picture))


@asked
def remix(
    video_id: str,
    prompt: str,
    *,
    picture: Picture | None = None,
    keep_keyframe: bool = False,
    idempotency_key: str | None = None,
    **options: Unpack[VideoOptions],
) -> Call[Video]:
    """A video that succeeded made over by another prompt; whatever is named is taken in place of the old.
    `keep_keyframe` animates the old video's keyframe anew."""
    told: dict[str, Any] = {"prompt": prompt, **options}
    if keep_keyframe:
        told["keep_keyframe"] = True
    return _new_video(f"{video_path(video_id)}/remix", told, picture, idempotency_key)


@asked
def extend(
    video_id: str, prompt: str, *, idempotency_key: str | None = None, **options: Unpack[VideoOptions]
) -> Call[Video]:
    """Go on where a video that succeeded ends; `seconds` or `num_frames` is the new clip's length alone.

    For models whose keyframe is the first frame; others raise InvalidRequest with code `cannot_extend`.
    """
    told = {"prompt": prompt, **options}
    return _new_video(f"{video_path(video_id)}/extend", told, None, idempotency_key)


@asked
def reproduce(
    video_id: str, *, idempotency_key: str | None = None, **options: Unpack[ReproduceOptions]
) -> Call[Video]:
    """Make a video that succeeded again, from all that decided about its frames. `reproduction` of the new
    one says in the end what came of it. Other weights than then raise Conflict: `cannot_reproduce`."""
    return _new_video(f"{video_path(video_id)}/reproduce", options, None, idempotency_key)


@asked
def receipt(video_id: str) -> Call[Receipt]:
    """What decided about the frames of a finished video."""
    return Call("GET", f"{video_path(video_id)}/receipt", reading(Receipt))


@asked
def get(video_id: str) -> Call[Video]:
    """The job as it stands now."""
    return looking(video_id)


@asked
def approve(
    video_id: str, *, candidate: int | None = None, picture: Picture | None = None, fit: Fit | None = None
) -> Call[Video]:
    """Let a job that was asked for with `pause_after="image"` go on, from one of its candidates or from
    `picture`. Of one candidate its number may be left out."""
    told = {"candidate": candidate, "fit": fit}
    given = {name: value for name, value in told.items() if value is not None}
    return Call("POST", f"{video_path(video_id)}/approve", reading(Video), _body(given, picture))


@asked
def cancel(video_id: str) -> Call[Video]:
    """Stop the job: at once while it waits, within one denoising step while it runs."""
    return Call("POST", f"{video_path(video_id)}/cancel", reading(Video))


@asked
def delete(video_id: str) -> Call[None]:
    """Forget the job and its artifacts; a job that still waits or runs is cancelled first."""
    return Call("DELETE", video_path(video_id), read_nothing)


@asked
def models() -> Call[tuple[Model, ...]]:
    """The models and their bounds."""
    return Call("GET", "/models", lambda answer: reading(Page[Model])(answer).data)


@asked
def model(name: str) -> Call[Model]:
    """One model and its bounds; a foreign name is answered by the model that it stands for."""
    return Call("GET", path_of("/models", "name", name), reading(Model))


@asked
def video_page(
    after: str | None,
    *,
    limit: int = 20,
    order: Literal["desc", "asc"] = "desc",
    metadata: Mapping[str, str] | None = None,
) -> Call[Page[Video]]:
    """Jobs, the newest first (`asc`: the oldest), `limit` (1 to 100) a page; only those with all of these
    pairs of `metadata`. Pages are fetched as they are needed."""
    pairs = {f"metadata[{name}]": value for name, value in (metadata or {}).items()}
    cursor = {} if after is None else {"after": after}
    params = {"limit": limit, "order": order, **pairs, **cursor}
    return Call("GET", "/videos", reading(Page[Video]), {"params": params})


def looking(video_id: str) -> Call[Video]:
    """The call behind `get` and every look of `wait`."""
    return Call("GET", video_path(video_id), reading(Video))


def read_nothing(answer: httpx.Response) -> None:
    """Of an answer that says no more than that it was done. Raises Unintelligible."""
    if not isinstance(json_of(answer), dict):
        raise Unintelligible(f"{answer.url} answers with nothing of this API")


def video_path(video_id: str) -> str:
    """As one segment: an id such as `../models` must not lead elsewhere, and none at all not to the list."""
    return path_of("/videos", "video_id", video_id)


def path_of(room: str, name: str, value: str) -> str:
    """`room`/`value`; raises ValueError for an empty value, which would lead to the list."""
    if not value:
        raise ValueError(f"{name} must be the id of a {name.removesuffix('_id')}, got ''")
    return f"{room}/{quote(value, safe='')}"


def _new_video(
    path: str,
    told: Mapping[str, Any],
    picture: Picture | None,
    idempotency_key: str | None,
    wait_s: int | None = None,
) -> Call[Video]:
    body = _body(told, picture)
    # Made here and not for each try: a lost answer is asked for again under the same key.
    body["headers"] = {**body["headers"], "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    if wait_s is not None:
        body["headers"]["Prefer"] = f"wait={wait_s}"
        body["timeout"] = wait_s + 30.0
    return Call("POST", path, reading(Video), body)


def _body(told: Mapping[str, Any], picture: Picture | None) -> dict[str, Any]:
    """JSON, or a form if there is a file to send."""
    if isinstance(picture, str) and picture.lower().startswith(URL_STARTS):
        told, picture = {**told, "input_reference": {"image_url": picture}}, None
    if picture is None:
        # All that Python can write, NaN and lone surrogates too: the gateway names field and bound.
        return {"content": json.dumps(told), "headers": {"Content-Type": "application/json"}}
    path = Path(picture)
    pairs = dict(told.get("metadata") or {})
    form: dict[str, Any] = {
        name: json.dumps(value) if name == "webhook_events" else _form_text(value)
        for name, value in told.items()
        if name != "metadata"
    }
    form |= {f"metadata[{name}]": _form_text(value) for name, value in pairs.items()}
    return {"data": form, "files": {"input_reference": (path.name, path.read_bytes())}, "headers": {}}


def _form_text(value: object) -> bytes:
    """Lone surrogates as they are: the gateway says what is wrong with them."""
    return (str(value).lower() if isinstance(value, bool) else str(value)).encode("utf-8", "surrogatepass")
