"""A model in a real S3 bucket, from the settings to frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.seaweed import KEY, SECRET, RunningS3, running_s3

from models.cinema import Cinema
from models.errors import BadWeights
from models.nano import write_nano
from service.storage.s3 import connect
from service.storage.settings import StorageSettings
from worker.settings import WorkerSettings
from worker.weights.source import with_local_models


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    with running_s3(tmp_path_factory.mktemp("weed")) as server:
        yield server


def test_a_model_in_a_bucket_is_fetched_and_renders(s3: RunningS3, tmp_path: Path) -> None:
    write_nano(tmp_path / "nano")
    store = connect(s3.place)
    for path in (tmp_path / "nano").rglob("*"):
        if path.is_file():
            key = f"released/nano/{path.relative_to(tmp_path / 'nano').as_posix()}"
            store.put(key, path.read_bytes(), "application/octet-stream")
    storage = StorageSettings(
        s3_endpoint_url=s3.place.endpoint_url, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    settings = WorkerSettings(weights="s3://videos/released/nano", weights_cache=tmp_path / "cache")
    folder = with_local_models(settings, storage).weights
    assert folder.is_relative_to(tmp_path / "cache")
    assert folder.name == "nano"
    there, here = (Cinema.load(each, device="cpu") for each in (folder, tmp_path / "nano"))
    assert there.weight_hash == here.weight_hash
    assert there("a red circle", 3).digest == here("a red circle", 3).digest
    absent = WorkerSettings(weights="s3://videos/released/absent", weights_cache=tmp_path / "cache")
    with pytest.raises(BadWeights, match=r"MICROCINEMA_WEIGHTS s3://videos/released/absent has no manifest"):
        with_local_models(absent, storage)
