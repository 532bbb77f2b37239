"""Pictures that clients sent, as ingredients of films: named, with their own credentials, and harmless."""

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import c2pa
import pytest
from PIL import Image
from rig.film_credentials import folder_of, read, rendered

from service.contracts.artifact import Upload
from service.contracts.request import KeyframeGate, Original, PictureRef
from worker.film.keyframe import picture_artifact
from worker.provenance.certificate import ANCHOR, own_certificate
from worker.provenance.credentials import OTHERS_BYTES_MAX

CAPTURED = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def photo(side: int = 64, kind: str = "JPEG") -> bytes:
    body = io.BytesIO()
    Image.effect_noise((side, side), 80).convert("RGB").save(body, kind)
    return body.getvalue()


def signed(
    ward: Any, body: bytes, at: str | None = None, kind: str = "image/jpeg", of: bytes | None = None
) -> bytes:
    """As a camera signs it; `at`: its credentials lie at this address, not in the file. `of`: a JPEG that it
    is said to be made of."""
    own = own_certificate(folder_of(ward))
    algorithm = getattr(c2pa.C2paSigningAlg, own.algorithm)
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, own.chain, own.key, None))
    action = {"action": "c2pa.created", "digitalSourceType": CAPTURED}
    told = {
        "claim_generator_info": [{"name": "A camera", "version": "1"}],
        "title": "photo",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    out = io.BytesIO()
    with c2pa.Builder(json.dumps(told)) as builder:
        if at is not None:
            builder.set_no_embed()
            builder.set_remote_url(at)
        if of is not None:
            builder.add_ingredient(json.dumps({"relationship": "inputTo"}), "image/jpeg", io.BytesIO(of))
        builder.sign(signer, kind, io.BytesIO(body), out)
    return out.getvalue()


def sent(ward: Any, raw: bytes | None, kind: str = "image/jpeg", **changes: Any) -> PictureRef:
    """A client's picture for video_a; `raw`: the file that it sent, if that was worth keeping."""
    own: PictureRef = ward.own_picture()
    if raw is not None:
        digest = hashlib.sha256(raw).hexdigest()
        key = f"default/video_a/input/{digest}.upload"
        ward.storage.put(key, raw, kind)
        changes["upload"] = Upload(key=key, sha256=digest, content_type=kind)
    return own.model_copy(update=changes)


def ingredient(ward: Any, **fields: Any) -> tuple[dict[str, Any], bytes]:
    """The only one of a film, which must be trusted, and the film."""
    _, body = rendered(ward, **fields)
    state, told = read(body, folder_of(ward) / ANCHOR)
    assert state == "Trusted"
    (only,) = told["ingredients"]
    return only, body


def test_a_picture_without_credentials_is_named(ward: Any) -> None:
    picture, _ = ingredient(ward, input_picture=sent(ward, None))
    assert (picture["title"], picture["format"]) == ("input_reference", "image/png")
    assert (picture["relationship"], picture.get("active_manifest")) == ("inputTo", None)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/webp"])
def test_the_credentials_of_a_picture_come_along(ward: Any, kind: str) -> None:
    raw = signed(ward, photo(kind=kind.rpartition("/")[2].upper()), kind=kind)
    picture, body = ingredient(ward, input_picture=sent(ward, raw, kind))
    assert (picture["title"], picture["format"], picture["relationship"]) == (
        "input_reference",
        kind,
        "inputTo",
    )
    with c2pa.Reader("video/mp4", io.BytesIO(body)) as reader:
        camera = json.loads(reader.json())["manifests"][picture["active_manifest"]]
    assert camera["claim_generator_info"][0]["name"] == "A camera"
    assert "thumbnail" not in picture or picture["active_manifest"] in picture["thumbnail"]["identifier"]


def test_a_picture_sent_to_a_gate_is_an_ingredient_too(ward: Any) -> None:
    raw = signed(ward, photo())
    ward.submit(gate=KeyframeGate(candidates=1, approval_s=60))
    ward.worker().engine.run_ticket()
    own = sent(ward, raw)
    keyframe = picture_artifact(own.key, ward.body(own.key), own.width, own.height)
    ward.store.approve(
        "default", "video_a", f"own:{own.sha256}", keyframe.model_copy(update={"upload": own.upload})
    )
    ward.worker().engine.run_ticket()
    job = ward.job()
    assert own.upload is not None
    assert job.names(own.upload.key)
    _, told = read(ward.body(job.artifact.key), folder_of(ward) / ANCHOR)
    assert told["ingredients"][0]["active_manifest"].startswith("urn:c2pa:")


def test_a_painted_keyframe_and_one_of_another_video_are_none(ward: Any) -> None:
    taken = sent(ward, None, taken_from="video_old")
    _, body = rendered(ward, input_picture=taken, remixed_from="video_old")
    _, told = read(body, folder_of(ward) / ANCHOR)
    assert [each["title"] for each in told["ingredients"]] == ["video_old.mp4"]
    first, body = rendered(ward, "video_b")
    assert "ingredients" not in read(body, folder_of(ward) / ANCHOR)[1]
    assert first.artifact is not None
    assert first.artifact.receipt is not None
    original = Original(video_id=first.id, key=first.artifact.key, receipt=first.artifact.receipt)
    _, body = rendered(ward, "video_c", reproduces=original)
    assert "ingredients" not in read(body, folder_of(ward) / ANCHOR)[1]  # nothing is made of the original


def test_credentials_that_no_library_reads_cost_no_film(ward: Any) -> None:
    raw = bytearray(signed(ward, photo(kind="WEBP"), kind="image/webp"))
    at = raw.index(b"c2pa")
    for offset in (5, 50, 200, 400):
        raw[at + offset] ^= 255
    picture, _ = ingredient(ward, input_picture=sent(ward, bytes(raw), "image/webp"))
    assert picture.get("active_manifest") is None


def test_credentials_that_were_tampered_with_are_told_as_such(ward: Any) -> None:
    raw = bytearray(signed(ward, photo()))
    raw[raw.index(b"digitalCapture")] ^= 1
    picture, _ = ingredient(ward, input_picture=sent(ward, bytes(raw)))
    failed = picture["validation_results"]["activeManifest"]["failure"]
    assert "assertion.hashedURI.mismatch" in {each["code"] for each in failed}


def test_a_film_takes_along_only_so_much_of_others(ward: Any) -> None:
    claims = signed(ward, photo())
    for _ in range(12):  # a picture whose history names itself over and over
        claims = signed(ward, photo(700), of=claims)
    assert len(claims) > OTHERS_BYTES_MAX
    picture, body = ingredient(ward, input_picture=sent(ward, claims))
    assert picture.get("active_manifest") is None
    assert len(body) < 100_000


@pytest.fixture
def host() -> Iterator[tuple[str, list[str]]]:
    """An address, and what was asked there."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_nobody_makes_the_worker_ask_an_address(ward: Any, host: tuple[str, list[str]]) -> None:
    url, asked = host
    raw = signed(ward, photo(), at=url)
    assert url.encode() in raw
    picture, _ = ingredient(ward, input_picture=sent(ward, raw))
    assert (picture.get("active_manifest"), asked) == (None, [])
    with c2pa.Builder(json.dumps({"title": "x"})) as careless:  # the library would, left to itself
        careless.add_ingredient(json.dumps({"title": "y"}), "image/jpeg", io.BytesIO(raw))
    assert asked == ["/secret"]
