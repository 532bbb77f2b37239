"""A model that lies in a bucket, served by the whole service: fetched at the start, then from POST to MP4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig.seaweed import RunningS3

from models.manifest import check_manifest
from service.storage.s3 import connect

StartService = Callable[..., Any]


@pytest.mark.timeout(300)
def test_a_worker_fetches_its_model_and_serves_it(
    start_service: StartService, s3: RunningS3, nano_weights: Path, tmp_path: Path
) -> None:
    store = connect(s3.place)
    for path in (each for each in nano_weights.rglob("*") if each.is_file()):
        key = f"released/nano/{path.relative_to(nano_weights).as_posix()}"
        store.put(key, path.read_bytes(), "application/octet-stream")
    cache = tmp_path / "cache"
    service = start_service(
        MICROCINEMA_WEIGHTS="s3://videos/released/nano", MICROCINEMA_WEIGHTS_CACHE=str(cache)
    )
    service.worker()
    with service.client() as client:
        (model,) = client.get("/models").json()["data"]
    assert model["spec"]["weight_hash"] == check_manifest(nano_weights)
    video = service.wait_for(service.create()["id"], "succeeded", "failed")
    assert video["state"] == "succeeded", video
    (fetched,) = cache.rglob("cinema.json")
    assert check_manifest(fetched.parent) == check_manifest(nano_weights)
