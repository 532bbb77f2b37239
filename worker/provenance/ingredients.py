"""What a film was made of, as its content credentials name it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from service.contracts.artifact import Upload
from service.contracts.job import OWN_PICTURE, VideoJob
from service.storage.artifact_store import ArtifactStore, StorageError
from service.store.store import JobStore
from worker.attempt import Attempt
from worker.film.encode import CONTENT_TYPE
from worker.film.keyframe import CONTENT_TYPE as PNG


@dataclass(frozen=True)
class Ingredient:
    """`body`: the file, where its own credentials are to come along; None: it is only named."""

    title: str
    content_type: str
    body: bytes | None = None


class Ingredients:
    """Reads them back. What is not to be had at once is named: no film waits for another's credentials."""

    def __init__(self, store: JobStore, storage: ArtifactStore) -> None:
        self._store, self._storage = store, storage

    def of(self, attempt: Attempt) -> list[Ingredient]:
        """The video that it goes on with or makes over, and the picture that its client sent."""
        wish, found = attempt.request, []
        old_id = wish.extends.video_id if wish.extends is not None else wish.remixed_from
        if old_id is not None:
            found.append(Ingredient(f"{old_id}.mp4", CONTENT_TYPE, self._film(attempt, old_id)))
        if was_sent(attempt.job):
            upload = upload_of(attempt.job)
            body = None if upload is None else self._read(upload.key)
            found.append(Ingredient("input_reference", upload.content_type if upload else PNG, body))
        return found

    def _film(self, attempt: Attempt, old_id: str) -> bytes | None:
        """An extension's copy, or what a remix was made of while that still exists."""
        if attempt.source is not None:
            return attempt.source
        with suppress(RedisError):
            old = self._store.get(attempt.job.tenant, old_id)
            if old is not None and old.artifact is not None:
                return self._read(old.artifact.key)
        return None

    def _read(self, key: str) -> bytes | None:
        with suppress(StorageError):
            return b"".join(self._storage.read(key))
        return None


def was_sent(job: VideoJob) -> bool:
    """Whether the client sent the keyframe, with its request or to the gate. (A remix that took another
    video's picture over names that video, whose own credentials name the picture.)"""
    own = job.request.input_picture
    if own is not None:
        return own.taken_from is None
    return job.chosen is not None and job.chosen.startswith(OWN_PICTURE)


def upload_of(job: VideoJob) -> Upload | None:
    """The client's file, if it is kept."""
    own = job.request.input_picture or job.keyframe
    return None if own is None else own.upload
