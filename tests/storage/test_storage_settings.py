"""The environment chooses the store; what is missing is said at the start."""

import stat
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.storage.artifact_store import StorageUnavailable
from service.storage.files import FileStore
from service.storage.s3 import S3Store
from service.storage.settings import StorageSettings, open_files, open_store

KEY = "default/video_1/1/video.mp4"


def test_local_files_are_the_default(tmp_path: Path) -> None:
    store = open_store(StorageSettings(storage_dir=tmp_path / "artifacts"))
    assert isinstance(store, FileStore)
    assert store.root == tmp_path / "artifacts"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    folder = tmp_path / "taken" / "artifacts"
    with pytest.raises(StorageUnavailable, match=f"{folder} .*MICROCINEMA_STORAGE_DIR"):
        open_store(StorageSettings(storage_dir=folder))


def test_the_link_secret_is_made_once_and_shared(tmp_path: Path) -> None:
    settings = StorageSettings(storage_dir=tmp_path)
    stores: list[FileStore] = []
    starts = [threading.Thread(target=lambda: stores.append(open_files(settings))) for _ in range(8)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len({store.signer.secret for store in stores}) == 1
    assert len(stores[0].signer.secret) == 64
    kept = tmp_path / ".link-secret"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(stores[0].list("")) == []


def test_a_given_secret_is_used_and_a_short_one_refused(tmp_path: Path) -> None:
    given = StorageSettings(storage_dir=tmp_path, storage_secret="a secret of enough bytes")
    assert open_files(given).signer.secret == b"a secret of enough bytes"
    assert "enough" not in repr(given)
    with pytest.raises(ValidationError, match="16"):
        StorageSettings(storage_secret="short")


def test_s3_is_read_by_its_usual_names(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "MICROCINEMA_STORAGE": "s3",
        "S3_BUCKET": "videos",
        "S3_ENDPOINT_URL": "http://inside:9000",
        "S3_PUBLIC_ENDPOINT_URL": "https://videos.example.com",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "a-very-secret-key",
    }
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    settings = StorageSettings()
    assert "a-very-secret-key" not in repr(settings)
    store = open_store(settings)
    assert isinstance(store, S3Store)
    assert store.link(KEY, 60).startswith(f"https://videos.example.com/videos/{KEY}?")


def test_s3_without_a_bucket_is_refused() -> None:
    with pytest.raises(ValidationError, match="S3_BUCKET is empty"):
        StorageSettings(storage="s3")
