"""Content credentials, read by the library's own reader from films that went through the composed worker."""

import hashlib
import io
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import c2pa
import pytest
from rig.film_credentials import folder_of, read, rendered
from rig.served_spec import micro_spec

from service.contracts.environment import UnusableSettings, read_settings
from worker.attempt import Attempt
from worker.film.encode import EncodeFailed
from worker.provenance.certificate import ANCHOR, UnusableCertificate, own_certificate, read_certificate
from worker.provenance.credentials import signer_of
from worker.settings import WorkerSettings


def test_a_film_says_that_a_model_made_it_and_which(ward: Any) -> None:
    job, body = rendered(ward, prompt="a secret wish")
    state, told = read(body, folder_of(ward) / ANCHOR)
    assert state == "Trusted"
    assert told["title"] == "video_a.mp4"
    assert told["claim_generator_info"][0]["name"] == "MicroCinema"
    (action,) = (each["data"]["actions"][0] for each in told["assertions"] if "actions" in each["label"])
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["softwareAgent"] == {"name": "fake", "version": ward.renderer.weight_hash}
    assert b"secret wish" not in body
    assert job.artifact is not None
    assert (job.artifact.bytes, job.artifact.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    with av.open(io.BytesIO(body)) as film:
        assert len(list(film.decode(video=0))) == 4


def test_without_our_anchor_it_is_valid_and_nobody_is_trusted(ward: Any) -> None:
    assert read(rendered(ward)[1])[0] == "Valid"


def test_a_changed_picture_is_found(ward: Any) -> None:
    body = bytearray(rendered(ward)[1])
    body[body.index(b"mdat") + 40] ^= 1
    assert read(bytes(body), folder_of(ward) / ANCHOR)[0] == "Invalid"


def test_a_remix_lists_what_it_was_made_of_and_its_credentials_while_it_is_there(ward: Any) -> None:
    rendered(ward)
    _, body = rendered(ward, "video_b", remixed_from="video_a")
    state, told = read(body, folder_of(ward) / ANCHOR)
    (old,) = told["ingredients"]
    assert (state, old["title"], old["relationship"]) == ("Trusted", "video_a.mp4", "inputTo")
    assert old["active_manifest"].startswith("urn:c2pa:")
    _, body = rendered(ward, "video_c", remixed_from="video_gone")
    state, told = read(body, folder_of(ward) / ANCHOR)
    (old,) = told["ingredients"]
    assert (state, old["title"], old.get("active_manifest")) == ("Trusted", "video_gone.mp4", None)


def test_equal_frames_stay_equal_however_often_they_are_signed(ward: Any) -> None:
    films = [rendered(ward, job_id) for job_id in ("video_a", "video_b")]
    digests = {job.artifact.frame_digest for job, _ in films if job.artifact}
    assert len(digests) == 1
    assert films[0][1] != films[1][1]


def test_switched_off_there_is_nothing_in_the_file_nor_on_the_disk(ward: Any) -> None:
    worker = ward.worker(credentials=False)
    ward.submit()
    worker.engine.run_ticket()
    body = b"".join(ward.storage.read(ward.job("video_a").artifact.key))
    assert c2pa.Reader.try_create("video/mp4", io.BytesIO(body)) is None
    assert not folder_of(ward).exists()


def test_an_operators_own_certificate_signs(ward: Any, tmp_path: Path) -> None:
    own_certificate(tmp_path / "bought")
    files = {
        "credentials_chain": tmp_path / "bought/chain.pem",
        "credentials_key": tmp_path / "bought/key.pem",
    }
    worker = ward.worker(**files)
    ward.submit()
    worker.engine.run_ticket()
    body = b"".join(ward.storage.read(ward.job("video_a").artifact.key))
    assert read(body, tmp_path / "bought" / ANCHOR)[0] == "Trusted"
    assert not folder_of(ward).exists()


def test_workers_that_start_at_once_agree_on_one_certificate(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(own_certificate, [tmp_path / "credentials"] * 8))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["credentials"]
    assert stat.S_IMODE((tmp_path / "credentials/key.pem").stat().st_mode) == 0o600


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    own_certificate(tmp_path / "a")
    own_certificate(tmp_path / "b")
    with pytest.raises(UnusableCertificate, match="is not the key of the first certificate"):
        read_certificate(tmp_path / "a/chain.pem", tmp_path / "b/key.pem")
    with pytest.raises(UnusableCertificate, match="cannot be read"):
        read_certificate(tmp_path / "none.pem", tmp_path / "b/key.pem")


def test_a_chain_without_a_key_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROCINEMA_CREDENTIALS_CHAIN", "chain.pem")
    with pytest.raises(UnusableSettings, match="CREDENTIALS_KEY must be set both or neither"):
        read_settings(WorkerSettings)


def test_a_film_that_cannot_be_signed_is_an_encoding_that_failed(ward: Any, tmp_path: Path) -> None:
    ward.worker()
    ward.submit()
    (claim,) = ward.store.claim("default", "w1", 1, 30.0, ["fake"])
    settings = WorkerSettings(credentials_dir=tmp_path / "credentials")
    sign = signer_of(settings, micro_spec("fake"), lambda _: ())
    with pytest.raises(EncodeFailed, match="could not be signed"):
        sign(Attempt(claim.job, 1, 0.0), b"no film at all")


def test_the_worker_can_be_imported_without_the_library() -> None:
    code = "import sys; sys.modules['c2pa'] = None; import worker.main"
    subprocess.run([sys.executable, "-c", code], check=True)
