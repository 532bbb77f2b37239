"""Objects into storage: whole or not at all, checked, offered again for a while, and taken back by rule."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.contracts.job import VideoJob
from service.contracts.lifecycle import TERMINAL
from service.storage.artifact_store import ArtifactStore, StorageError, StorageUnavailable
from service.store.nouns import Finished
from worker.attempt import Attempt
from worker.events import StorageRetried, Tell

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0


@dataclass(frozen=True)
class Uploaded:
    """Where the object lies, and the sha256 (hex) of its bytes."""

    key: str
    sha256: str


class Uploader:
    """Writes and removes the objects of attempts."""

    def __init__(
        self,
        storage: ArtifactStore,
        *,
        patience_s: float,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._storage, self._patience_s, self._tell = storage, patience_s, tell
        self._clock, self._pause = clock, pause

    def put(
        self, attempt: Attempt, name: str, body: bytes, content_type: str, may_go_on: Callable[[], None]
    ) -> Uploaded:
        """Store `body` under the attempt's own prefix.

        `may_go_on` is asked before each try and ends the upload by raising: an attempt without its lease
        writes nothing. Raises StorageUnavailable if the storage did not take the object for the whole of
        `patience_s`.
        """
        key = attempt.key(name)
        digest = hashlib.sha256(body).hexdigest()
        until, pause_s = self._clock() + self._patience_s, FIRST_PAUSE_S
        while True:
            may_go_on()
            if key not in attempt.stored:
                attempt.stored.append(key)  # before the try: one whose answer is lost may have stored it too
            try:
                stored = self._storage.put(key, body, content_type)
                if stored.bytes != len(body) or stored.sha256 not in (None, digest):
                    raise StorageUnavailable(f"storage keeps {key!r} otherwise than it was sent")
                return Uploaded(key, digest)
            except StorageUnavailable as error:
                if self._clock() + pause_s > until:
                    raise
                self._tell(StorageRetried(key, str(error)))
            self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def storage_is_there(self) -> bool:
        """Whether the storage as a whole can be used now."""
        try:
            self._storage.check()
        except StorageError:
            return False
        return True

    def withdraw(self, attempt: Attempt, answer: Finished, record: VideoJob | None) -> None:
        """Delete what a beaten attempt has stored.

        Only after an answer that names another winner or a terminal state, only keys of the attempt's own
        number, and never one that the record names: a later attempt may have gone on from this one's
        keyframe. Silence, an error, or no record to look at delete nothing; the janitor will, when it is
        sure.
        """
        if not may_withdraw(attempt, answer) or record is None:
            return
        for key in attempt.stored:
            if not record.names(key):
                try:
                    self._storage.delete(key)
                except StorageUnavailable as error:
                    self._tell(StorageRetried(key, str(error)))


def may_withdraw(attempt: Attempt, answer: Finished) -> bool:
    """Whether the answer to a finish proves that nobody will ever want this attempt's own objects."""
    if answer.accepted:
        return False
    return answer.winner_attempt not in (0, attempt.number) or answer.state in TERMINAL
