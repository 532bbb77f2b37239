"""Content credentials, read by the library's own reader from films that went through the composed worker."""

import io
import json
from pathlib import Path
from typing import Any

import c2pa

from service.contracts.job import VideoJob


def folder_of(ward: Any) -> Path:
    folder: Path = ward.storage.root.with_name("credentials")
    return folder


def rendered(ward: Any, job_id: str = "video_a", **fields: Any) -> tuple[VideoJob, bytes]:
    worker = ward.worker()
    ward.submit(job_id, **fields)
    worker.engine.run_ticket()
    job = ward.job(job_id)
    assert job.artifact is not None, job
    return job, b"".join(ward.storage.read(job.artifact.key))


def read(body: bytes, anchor: Path | None = None) -> tuple[str, dict[str, Any]]:
    """The reader's verdict, and the manifest that counts."""
    trust = {} if anchor is None else {"trust": {"user_anchors": anchor.read_text()}}
    with (
        c2pa.Context.from_dict(trust) as context,
        c2pa.Reader("video/mp4", io.BytesIO(body), context=context) as reader,
    ):
        told = json.loads(reader.json())
        return reader.get_validation_state(), told["manifests"][told["active_manifest"]]
