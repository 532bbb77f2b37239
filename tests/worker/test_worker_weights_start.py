"""A worker process whose model is elsewhere: what it says and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from rig.forked import Forked
from rig.processes import free_ports

S3 = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("weights", "code", "sentence"),
    [
        ("s3://models/sd21", 1, "the S3 server of bucket 'models' is away"),
        ("some/model", 1, "there is no folder 'some/model' here, and"),
        ("s3://Models", 78, "MICROCINEMA_WEIGHTS 's3:/Models' is not the address of a folder in a bucket"),
        ("/nowhere", 78, "MICROCINEMA_WEIGHTS /nowhere"),
    ],
)
def test_a_model_that_cannot_be_had_ends_the_start_with_a_sentence(
    redis_url: str, tmp_path: Path, weights: str, code: int, sentence: str
) -> None:
    """Exit 1 lets the supervisor try again later; 78 says that only other settings help."""
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    with Redis.from_url(redis_url) as redis:
        redis.flushall()  # its storage was another test's
    environment = {
        "MICROCINEMA_WEIGHTS": weights,
        "MICROCINEMA_WEIGHTS_CACHE": str(tmp_path / "cache"),
        "MICROCINEMA_STORAGE_DIR": str(tmp_path / "artifacts"),
        "REDIS_URL": redis_url,
        "S3_ENDPOINT_URL": nobody,
        "HF_ENDPOINT": nobody,
        "HF_HUB_OFFLINE": "1",
        **S3,
    }
    worker = Forked("worker", "worker.main", environment, tmp_path / "worker.log").start()
    assert worker.wait(60) == code, worker.output()
    assert sentence in worker.output()
    assert "Traceback" not in worker.output()
