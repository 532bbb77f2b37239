"""Objects as attempts store them, and a storage that will not let go of some."""

from service.contracts.artifact import Artifact
from service.contracts.keys import attempt_prefix
from service.storage.artifact_store import ArtifactStore, StorageUnavailable
from service.storage.files import FileStore
from service.store.nouns import Succeeded
from service.store.store import JobStore

LEASE_S = 15.0


def stored(artifacts: ArtifactStore, job_id: str, attempt: int, name: str = "video.mp4") -> Artifact:
    key = attempt_prefix("default", job_id, attempt) + name
    body = f"{job_id} {attempt} {name}".encode()
    made = artifacts.put(key, body, "video/mp4")
    assert made.sha256 is not None
    return Artifact(
        key=key, content_type="video/mp4", bytes=made.bytes, sha256=made.sha256, width=64, height=64
    )


def keys(artifacts: ArtifactStore) -> set[str]:
    return {found.key for found in artifacts.list("")}


def begin(jobs: JobStore, worker: str = "w1") -> int:
    (claim,) = jobs.claim("default", worker, 1, LEASE_S, ["micro"])
    return claim.attempt


def succeed(jobs: JobStore, artifacts: ArtifactStore, job_id: str) -> Artifact:
    attempt = begin(jobs)
    artifact = stored(artifacts, job_id, attempt)
    assert jobs.finish(job_id, attempt, Succeeded(artifact, {})).accepted
    return artifact


# ---- jobs whose time is over ---------------------------------------------------------------------------


class StuckStore:
    """Storage that deletes nothing whose key contains `stuck`: an object lock, a read-only disk."""

    def __init__(self, inner: FileStore, stuck: str = "") -> None:
        self._inner, self._stuck = inner, stuck

    def list(self, prefix: str):
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        if self._stuck in key:
            raise StorageUnavailable(f"{key} cannot be deleted now")
        self._inner.delete(key)
