"""Downloads: whole, in ranges, by signed link, and what is said while there is nothing to download."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from service.access import Shelf
from service.storage.artifact_store import StorageUnavailable


@pytest.fixture
def video_id(site: Any) -> str:
    site.create()
    rendered: str = site.worker.render()
    return rendered


@pytest.fixture
def mp4(site: Any, video_id: str) -> bytes:
    key = site.jobs.get("default", video_id).artifact.key
    return b"".join(site.artifacts.read(key))


def test_the_whole_video(site: Any, video_id: str, mp4: bytes) -> None:
    answer = site.client.get(f"/videos/{video_id}/content")
    assert answer.status_code == 200
    assert answer.content == mp4
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(mp4))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{hashlib.sha256(mp4).hexdigest()}"'
    digest = base64.b64encode(hashlib.sha256(mp4).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["content-disposition"] == f'inline; filename="{video_id}.mp4"'


def test_the_keyframe(site: Any, video_id: str) -> None:
    answer = site.client.get(f"/videos/{video_id}/content?variant=image")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("variant", "content_type", "suffix", "magic"),
    [("thumbnail", "image/webp", "webp", b"RIFF"), ("spritesheet", "image/jpeg", "jpg", b"\xff\xd8\xff")],
)
def test_the_pictures_beside_the_video(
    site: Any, video_id: str, variant: str, content_type: str, suffix: str, magic: bytes
) -> None:
    answer = site.client.get(f"/v1/videos/{video_id}/content", params={"variant": variant})
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.content.startswith(magic)
    assert answer.headers["content-disposition"] == f'inline; filename="{video_id}.{suffix}"'
    video = site.client.get(f"/videos/{video_id}").json()
    assert video[variant]["bytes"] == len(answer.content)
    link = urlsplit(video["urls"][f"{variant}_link"])
    followed = site.client.get(f"{link.path}?{link.query}")
    assert (followed.content, followed.headers["content-type"]) == (answer.content, content_type)


def test_a_video_of_before_there_were_stills_has_none(site: Any) -> None:
    site.create()
    claim = site.worker.claim()
    film = site.worker.film(claim)
    bare = film.artifact.model_copy(update={"thumbnail": None, "spritesheet": None})
    site.worker.finish(claim, replace(film, artifact=bare))
    answer = site.client.get(f"/videos/{claim.job.id}/content?variant=thumbnail")
    assert site.problem(404, answer)["code"] == "no_content"


def test_a_range_of_it(site: Any, video_id: str, mp4: bytes) -> None:
    url = f"/videos/{video_id}/content"
    answer = site.client.get(url, headers={"range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")
    assert answer.headers["content-range"] == f"bytes 4-7/{len(mp4)}"
    assert answer.headers["content-length"] == "4"
    tail = site.client.get(url, headers={"range": "bytes=-10"})
    assert tail.content == mp4[-10:]
    same = {"range": "bytes=4-7", "if-range": answer.headers["etag"]}
    assert site.client.get(url, headers=same).content == b"ftyp"
    # a resumed download of another version starts again from the front
    stale = site.client.get(url, headers={"range": "bytes=4-7", "if-range": '"another"'})
    assert (stale.status_code, stale.content) == (200, mp4)


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=5-4", "bytes=x", "bytes"])
def test_a_bad_range_is_416(site: Any, video_id: str, mp4: bytes, asked: str) -> None:
    answer = site.client.get(f"/videos/{video_id}/content", headers={"range": asked})
    assert site.problem(416, answer)["error"]["param"] == "Range"
    assert answer.headers["content-range"] == f"bytes */{len(mp4)}"


def test_head_and_not_modified_send_no_body(site: Any, video_id: str, mp4: bytes) -> None:
    url = f"/videos/{video_id}/content"
    head = site.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(mp4))
    same = site.client.get(url, headers={"if-none-match": head.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_an_unknown_variant_is_named(site: Any, video_id: str) -> None:
    problem = site.problem(422, site.client.get(f"/videos/{video_id}/content?variant=hologram"))
    assert problem["errors"][0]["field"] == "variant"
    for variant in ("video", "thumbnail", "spritesheet", "image"):
        assert f"'{variant}'" in problem["errors"][0]["bound"]


def test_nothing_to_download_yet_and_never(site: Any) -> None:
    video_id = site.create()["id"]
    url = f"/videos/{video_id}/content"
    waiting = site.client.get(url)
    assert site.problem(409, waiting)["code"] == "content_not_ready"
    assert waiting.headers["x-should-retry"] == "false"
    site.worker.paint(site.worker.claim())
    assert site.client.get(url, params={"variant": "image"}).status_code == 200
    assert site.client.get(url).status_code == 409
    cancelled = site.create()["id"]
    site.client.post(f"/videos/{cancelled}/cancel")
    assert site.problem(404, site.client.get(f"/videos/{cancelled}/content"))["code"] == "no_content"


def test_a_file_that_is_gone_is_410(site: Any, video_id: str) -> None:
    site.artifacts.delete(site.jobs.get("default", video_id).artifact.key)
    assert site.problem(410, site.client.get(f"/videos/{video_id}/content"))["code"] == "content_gone"


def test_signed_links_work_without_any_header(site: Any, video_id: str) -> None:
    link = urlsplit(site.client.get(f"/videos/{video_id}").json()["urls"]["video_link"])
    path = f"{link.path}?{link.query}"
    answer = site.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert answer.headers["content-disposition"] == f'attachment; filename="{video_id}.mp4"'
    assert site.client.get(path, headers={"range": "bytes=4-7"}).content == b"ftyp"
    assert site.client.head(path).status_code == 200
    for spoilt in (path[:-1] + ("0" if path[-1] != "0" else "1"), path.replace("expires=", "expires=9")):
        assert site.problem(403, site.client.get(spoilt))["code"] == "bad_signature"
    site.problem(422, site.client.get(link.path))
    other = path.replace(video_id, "video_other", 1)
    site.problem(403, site.client.get(other))


def test_redirect_mode_sends_clients_to_the_link(
    start_gateway: Any, site: Any, video_id: str, mp4: bytes
) -> None:
    redirecting = start_gateway(content="redirect")
    answer = redirecting.client.get(f"/videos/{video_id}/content")
    assert answer.status_code == 302
    assert "/artifacts/default/" in answer.headers["location"]
    assert answer.headers["cache-control"] == "no-store"
    head = redirecting.client.head(f"/videos/{video_id}/content")
    assert (head.status_code, int(head.headers["content-length"])) == (200, len(mp4))


class BrokenStore:
    """Storage that is away; it may fail in the middle of a file too."""

    def __init__(self, chunks: int = 0) -> None:
        self._chunks = chunks

    def read(self, _key: str, _start: int = 0, _end: int | None = None) -> Iterator[bytes]:
        if not self._chunks:
            raise StorageUnavailable("away")
        return self._some()

    def _some(self) -> Iterator[bytes]:
        yield from [b"x" * 100] * self._chunks
        raise StorageUnavailable("away in the middle")

    def link(self, key: str, _expires_s: int, _filename: str | None = None) -> str:
        return f"http://storage.example/{key}"

    def _away(self, *_: object) -> Any:
        raise StorageUnavailable("away")

    put = head = delete = list = check = _away


def with_storage(store: Any) -> Any:
    def change(parts: Any) -> Any:
        shelf = Shelf(store, limit_s=1.0)
        intake = replace(parts.intake, pictures=replace(parts.intake.pictures, shelf=shelf))
        return replace(parts, shelf=shelf, intake=intake, checks={"storage": shelf.check}, signer=None)

    return change


def test_storage_away_is_503_for_what_needs_it_and_for_nothing_else(
    start_gateway: Any, site: Any, video_id: str, png: Any
) -> None:
    broken = start_gateway(parts=with_storage(BrokenStore()))
    answer = broken.client.get(f"/videos/{video_id}/content")
    assert broken.problem(503, answer)["code"] == "storage_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert broken.client.get(f"/videos/{video_id}").status_code == 200
    assert broken.client.post("/videos", json={"prompt": "x"}).status_code == 202
    files = {"input_reference": ("a.png", png())}
    broken.problem(503, broken.client.post("/videos", data={"prompt": "x"}, files=files))
    ready = broken.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"]["storage"]["ready"] is False
    broken.problem(404, broken.client.get("/artifacts/a/b.mp4?expires=1&signature=x"))


def test_a_file_that_breaks_off_is_never_taken_for_whole(start_gateway: Any, video_id: str) -> None:
    broken = start_gateway(parts=with_storage(BrokenStore(chunks=3)))
    with pytest.raises(httpx.RemoteProtocolError):
        broken.client.get(f"/videos/{video_id}/content")
