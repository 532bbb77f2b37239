"""The client against a scripted gateway: retries, errors, paging, whole files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.api.views import VideoView
from service.client import (
    Client,
    Conflict,
    InvalidRequest,
    NotFound,
    RenderFailed,
    RequestFailed,
    Unavailable,
    Unintelligible,
    Unreachable,
    Video,
    VideoOptions,
)
from service.fields.video import CreateVideo

Reply = Callable[[httpx.Request], httpx.Response]


def video(**changes: object) -> dict[str, object]:
    plain = {
        "id": "video_1",
        "object": "video",
        "status": "queued",
        "state": "queued",
        "progress": 0,
        "num_frames": 16,
        "fps": 8,
        "seed": 7,
        "error": None,
        "an_extra_of_tomorrow": 1,
    }
    return {**plain, **changes}


class Gateway:
    """Gives its replies in order and remembers what it was asked; time passes only in `sleep`."""

    def __init__(self, *replies: Reply | httpx.Response | Exception) -> None:
        self._replies: Iterator[Reply | httpx.Response | Exception] = iter(replies)
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []

    def client(self, patience_s: float = 30.0) -> Client:
        return Client(
            "http://gateway",
            patience_s=patience_s,
            transport=httpx.MockTransport(self._answer),
            clock=lambda: sum(self.slept),
            sleep=self.slept.append,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else reply(request)


def problem(status: int, **headers: str) -> httpx.Response:
    sentence = {"title": "No", "detail": "fps must be 1 to 30, got 99", "status": status}
    return httpx.Response(status, json=sentence, headers={"x-request-id": "req_9", **headers})


def test_a_lost_answer_is_asked_for_again_under_the_same_idempotency_key():
    gateway = Gateway(httpx.ReadError("cut"), problem(503), httpx.Response(202, json=video()))
    made = gateway.client().create("a red circle", fps=8, metadata={"k": "v"})
    assert made.id == "video_1"
    assert made.model_dump()["an_extra_of_tomorrow"] == 1
    assert len({request.headers["Idempotency-Key"] for request in gateway.asked}) == 1
    assert json.loads(gateway.asked[2].content) == {
        "prompt": "a red circle",
        "fps": 8,
        "metadata": {"k": "v"},
    }


def test_two_orders_have_two_keys():
    gateway = Gateway(*[httpx.Response(202, json=video())] * 2)
    client = gateway.client()
    client.create("same")
    client.create("same")
    assert gateway.asked[0].headers["Idempotency-Key"] != gateway.asked[1].headers["Idempotency-Key"]


def test_retry_after_is_obeyed_and_patience_has_an_end():
    gateway = Gateway(*[problem(429, **{"retry-after": "7"})] * 9)
    with pytest.raises(Unavailable, match="429"):
        gateway.client(patience_s=20).create("x")
    assert all(wait >= 7 for wait in gateway.slept)
    assert 7 <= sum(gateway.slept) <= 20


def test_no_answer_at_all():
    gateway = Gateway(*[httpx.ConnectError("refused")] * 99)
    with pytest.raises(Unreachable, match=r"http://gateway does not answer: refused"):
        gateway.client(patience_s=2).get("video_1")
    assert len(gateway.asked) > 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequest), (422, InvalidRequest), (404, NotFound), (409, Conflict), (500, RequestFailed)],
)
def test_a_problem_is_raised_once_with_its_own_sentence(status, kind):
    gateway = Gateway(problem(status))
    with pytest.raises(
        kind, match=rf"HTTP {status}: fps must be 1 to 30, got 99 \(request req_9\)"
    ) as caught:
        gateway.client().get("video_1")
    assert type(caught.value) is kind
    assert len(gateway.asked) == 1


def test_a_page_of_some_proxy_is_an_error_too():
    gateway = Gateway(httpx.Response(502, text="<html>"))
    with pytest.raises(RequestFailed, match="Bad Gateway"):
        gateway.client().get("video_1")


def test_wait_shows_every_answer_and_ends_with_the_last():
    stages = [video(), video(status="in_progress", progress=40), video(status="completed", progress=100)]
    gateway = Gateway(*[httpx.Response(200, json=stage) for stage in stages])
    seen: list[int] = []
    made = gateway.client().wait("video_1", on_progress=lambda one: seen.append(one.progress))
    assert seen == [0, 40, 100]
    assert made.raise_for_failure() is made


def test_wait_gives_up_and_says_where_the_job_stands():
    gateway = Gateway(*[httpx.Response(200, json=video(progress=3))] * 99)
    with pytest.raises(TimeoutError, match=r"video_1 is queued \(3 %\) after 2 s"):
        gateway.client().wait("video_1", timeout_s=2)


def test_a_failed_job_is_an_exception_when_asked():
    error = {"code": "cancelled", "message": "cancelled by the client"}
    gateway = Gateway(httpx.Response(200, json=video(status="failed", state="cancelled", error=error)))
    made = gateway.client().wait("video_1")
    with pytest.raises(RenderFailed, match=r"video_1 cancelled: cancelled by the client \(cancelled\)"):
        made.raise_for_failure()


def test_paging_follows_the_cursor():
    def page(names: list[str], more: bool) -> httpx.Response:
        return httpx.Response(
            200, json={"data": [video(id=name) for name in names], "has_more": more, "last_id": names[-1]}
        )

    gateway = Gateway(page(["a", "b"], True), page(["c"], False))
    assert [one.id for one in gateway.client().list_videos(limit=2)] == ["a", "b", "c"]
    assert "after" not in gateway.asked[0].url.params
    assert gateway.asked[1].url.params["after"] == "b"


def test_a_picture_travels_as_multipart(tmp_path):
    picture = tmp_path / "key.png"
    picture.write_bytes(b"\x89PNG")
    gateway = Gateway(httpx.Response(202, json=video()))
    gateway.client().create("move", picture=picture, seed=1, fit="cover", metadata={"order": "7"})
    body = gateway.asked[0].content
    assert gateway.asked[0].headers["content-type"].startswith("multipart/form-data")
    for part in (b'name="prompt"', b'name="seed"', b'name="metadata[order]"', b'filename="key.png"'):
        assert part in body


@pytest.mark.parametrize("url", ["gateway:8000", "http://[::", "http://", "ftp://gateway", "", "http://a:b"])
def test_an_address_that_leads_nowhere_is_told_at_once(url: str):
    with pytest.raises(Unreachable, match="is no "):
        Client(url)


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>a router</html>"), httpx.Response(200, json={"data": "x"})]
)
@pytest.mark.parametrize(
    "ask", [lambda c: c.get("video_1"), lambda c: c.models(), lambda c: next(c.list_videos())]
)
def test_the_answer_of_something_else_is_an_error_of_ours(answer, ask):
    with pytest.raises(Unintelligible):
        ask(Gateway(answer).client())


def test_no_id_is_not_the_list_of_all_videos(tmp_path: Path):
    client = Gateway().client()
    for ask in (client.get, client.cancel, client.delete, lambda none: client.download(none, tmp_path / "a")):
        with pytest.raises(ValueError, match="video_id must be the id of a video, got ''"):
            ask("")


def test_an_id_is_one_segment_of_a_path(tmp_path: Path):
    gateway = Gateway(*(problem(404) for _ in range(4)))
    client = gateway.client()
    for ask in (
        client.get,
        client.cancel,
        client.delete,
        lambda odd: client.download(odd, tmp_path / "a.mp4"),
    ):
        with pytest.raises(NotFound):
            ask("../models?x#y")
    assert {request.url.raw_path.split(b"/")[2] for request in gateway.asked} == {b"..%2Fmodels%3Fx%23y"}


@pytest.mark.parametrize("picture", [False, True])
def test_what_no_json_or_form_should_hold_is_the_gateways_to_refuse(tmp_path: Path, picture: bool):
    path = tmp_path / "key.png"
    path.write_bytes(b"\x89PNG")
    client = Gateway(problem(422)).client()
    with pytest.raises(InvalidRequest, match="fps must be"):
        client.create(
            "half \udcff", picture=path if picture else None, gamma=float("nan"), seconds=float("inf")
        )


def test_a_download_into_a_folder_is_refused_before_it_begins(tmp_path: Path):
    for folder in (tmp_path, Path()):
        with pytest.raises(IsADirectoryError):
            Gateway().client().download("video_1", folder)


def test_a_download_is_whole_or_not_there(tmp_path: Path):
    def cut() -> Iterator[bytes]:
        yield b"half"
        raise httpx.ReadError("cut")

    path = tmp_path / "video.mp4"
    gateway = Gateway(httpx.Response(200, content=cut()), httpx.Response(200, content=b"whole"))
    gateway.client().download("video_1", path)
    assert path.read_bytes() == b"whole"
    path.unlink()
    with pytest.raises(Conflict):
        Gateway(problem(409)).client().download("video_1", path)
    assert not list(tmp_path.iterdir())


def test_cancel_delete_models_and_readiness():
    gateway = Gateway(
        httpx.Response(200, json=video(status="failed", state="cancelled")),
        httpx.Response(200, json={"id": "video_1", "deleted": True}),
        httpx.Response(200, json={"data": [{"id": "micro"}]}),
        httpx.Response(503, json={"redis": "away"}),
        httpx.ConnectError("refused"),
    )
    client = gateway.client()
    assert client.cancel("video_1").state == "cancelled"
    client.delete("video_1")
    assert [model.id for model in client.models()] == ["micro"]
    assert client.readiness() == (False, {"redis": "away"})
    with pytest.raises(Unreachable):
        client.readiness()
    asked = [(request.method, request.url.path) for request in gateway.asked[:3]]
    assert asked == [("POST", "/videos/video_1/cancel"), ("DELETE", "/videos/video_1"), ("GET", "/models")]


def test_the_client_asks_and_reads_only_what_the_gateway_knows():
    assert VideoOptions.__annotations__.keys() | {"prompt", "n", "user"} == CreateVideo.model_fields.keys()
    assert Video.model_fields.keys() <= VideoView.model_fields.keys()


def test_approve_names_a_candidate_or_sends_a_picture_and_wait_comes_back_for_it(tmp_path: Path):
    waiting = video(status="in_progress", state="awaiting_approval")
    gateway = Gateway(*[httpx.Response(200, json=waiting)] * 3)
    client = gateway.client()
    assert client.wait("video_1").awaits_approval
    client.approve("video_1", candidate=2)
    picture = tmp_path / "mine.png"
    picture.write_bytes(b"picture")
    client.approve("video_1", picture=picture, fit="cover")
    _, chosen, sent = gateway.asked
    assert (chosen.url.path, json.loads(chosen.content)) == ("/videos/video_1/approve", {"candidate": 2})
    body = sent.content
    assert b'name="input_reference"; filename="mine.png"' in body
    assert b'name="fit"\r\n\r\ncover' in body
