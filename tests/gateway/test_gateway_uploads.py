"""Files of clients that are kept as they came, because they carry content credentials."""

import hashlib
import io
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def marked(kind: str = "PNG") -> bytes:
    """A picture with the mark of a manifest store, which nobody reads here."""
    body, words = io.BytesIO(), PngInfo()
    words.add_text("about", "c2pa")
    Image.new("RGB", (64, 64), (9, 9, 9)).save(body, kind, pnginfo=words, comment=b"c2pa")
    return body.getvalue()


def create(site: Any, raw: bytes) -> Any:
    return site.client.post("/videos", data={"prompt": "x"}, files={"input_reference": ("a", raw)})


def keys(site: Any) -> list[str]:
    return [each.key for each in site.artifacts.list("default/")]


@pytest.mark.parametrize(("kind", "named"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_a_file_with_credentials_is_kept_and_named_by_the_record(site: Any, kind: str, named: str) -> None:
    raw = marked(kind)
    job = site.jobs.get("default", create(site, raw).json()["id"])
    upload = job.request.input_picture.upload
    assert b"".join(site.artifacts.read(upload.key)) == raw
    assert (upload.content_type, upload.sha256) == (named, hashlib.sha256(raw).hexdigest())
    assert job.names(upload.key)
    assert b"c2pa" not in b"".join(site.artifacts.read(job.request.input_picture.key))


def test_a_file_without_is_not(site: Any, png: Any) -> None:
    job = site.jobs.get("default", create(site, png()).json()["id"])
    assert job.request.input_picture.upload is None
    assert [key.rpartition("/")[2] for key in keys(site)] == ["picture.png"]


def test_of_a_refused_submission_nothing_is_left(
    empty_record: None, start_gateway: Any, make_spec: Any
) -> None:
    site = start_gateway(queue_limit=1)
    site.worker.announce(make_spec())
    site.create()
    assert site.problem(429, create(site, marked()))["code"] == "queue_full"
    assert keys(site) == []


def test_a_file_for_a_gate_is_kept_too_and_a_reproduction_has_a_copy(site: Any) -> None:
    gated = site.create(pause_after="image")["id"]
    site.worker.offer()
    site.client.post(f"/videos/{gated}/approve", files={"input_reference": ("a", marked())})
    site.worker.render()
    job = site.jobs.get("default", gated)
    assert job.names(job.keyframe.upload.key)
    again = site.client.post(f"/videos/{gated}/reproduce").json()["id"]
    upload = site.jobs.get("default", again).request.input_picture.upload
    site.client.delete(f"/videos/{gated}")
    assert again in upload.key
    assert b"".join(site.artifacts.read(upload.key)) == marked()
