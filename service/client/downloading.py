"""A file of a job onto the disk: whole and checked or not at all, and from where it was cut."""

import base64
import binascii
import errno
import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO, Literal

import httpx

from service.client.asking import Asking, Call, Program, Sink
from service.client.calls import video_path
from service.client.errors import RequestFailed, Unintelligible, Unreachable

Variant = Literal["video", "thumbnail", "spritesheet", "image"]
#: A strong entity tag that may stand in a file's name.
_TAG = re.compile(r'"([0-9A-Za-z-]{8,80})"')
_LONGEST_STEM = 150


class Draft:
    """The part of a file that is there already, beside the place where the whole one goes.

    Its name holds the entity tag of what it is a part of: another program, or this one tomorrow, goes on with
    it, and only as long as the gateway still has that very file.
    """

    def __init__(self, path: Path) -> None:
        self._stem = path.with_name(path.name[:_LONGEST_STEM])
        parts = path.parent.glob(f"{_literal(self._stem.name)}.*.part")
        self.path: Path | None = next(iter(sorted(parts)), None)
        self._file: BinaryIO | None = None

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def asks(self) -> dict[str, str]:
        """The headers that ask for the rest."""
        tag = self._tag()
        if tag is None or not self.size:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": f'"{tag}"'}

    def receive(self, answer: httpx.Response) -> Sink | None:
        """Where the body of this answer goes. A refusal's is read, not kept."""
        if not answer.is_success:
            return None
        self.end()
        goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if not goes_on:
            self.discard()
            found = _TAG.fullmatch(answer.headers.get("etag", ""))
            # Without a usable tag nobody could say later what this is a part of.
            name = f"{self._stem.name}.{found[1]}.part" if found else f"{self._stem.name}.part"
            self.path = self._stem.with_name(name)
        elif not answer.headers.get("content-range", "").startswith(f"bytes {self.size}-"):
            raise Unintelligible(f"{answer.url} answers with another part than the one asked for")
        assert self.path is not None
        self._file = self.path.open("ab" if goes_on else "wb")
        return self._file.write

    def end(self) -> None:
        """Nothing more comes for now."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def keep(self, path: Path) -> None:
        """It is whole: put it in its place."""
        self.end()
        assert self.path is not None
        self.path.replace(path)

    def discard(self) -> None:
        self.end()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """For another time, if it can be gone on with."""
        self.end()
        if self._tag() is None or not self.size:
            self.discard()

    def _tag(self) -> str | None:
        name = self.path.name if self.path is not None else ""
        tag = name.removeprefix(f"{self._stem.name}.").removesuffix(".part")
        return tag if _TAG.fullmatch(f'"{tag}"') else None


def download(
    asking: Asking,
    video_id: str,
    path: Path,
    *,
    variant: Variant = "video",
    candidate: int | None = None,
) -> Program[None]:
    """Write the MP4, its centre frame (WebP), its spritesheet (JPEG) or the keyframe (PNG; of a gated job one
    of its candidates) to `path`, whole or not at all.

    A cut connection is gone on with where it was cut (Range, If-Range), also by a later call: what has come
    so far stays beside `path` as `.part`. Patience counts from the last byte that came. The file is held
    against the checksum that the gateway sends. Raises OSError if it cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    place = f"{video_path(video_id)}/content"
    chosen = {} if candidate is None else {"candidate": candidate}
    draft = Draft(path)

    def call() -> Call[None]:
        draft.end()
        # Not compressed on the way: a range counts the file's own bytes.
        headers = {"Accept-Encoding": "identity", **draft.asks()}
        sent = {"params": {"variant": variant, **chosen}, "headers": headers}
        return Call("GET", place, lambda _: None, sent)

    try:
        while True:
            before = draft.size
            try:
                answer = yield from asking.answered(call, draft.receive)
            except Unreachable:
                if draft.size > before:
                    continue  # it moves: patience begins anew
                raise
            except RequestFailed as refusal:
                draft.discard()
                if refusal.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                    continue  # the part is longer than the file: begin anew
                raise
            draft.end()
            if _is_whole(draft, answer):
                draft.keep(path)
                return
            draft.discard()
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                raise Unintelligible(
                    f"{answer.url} sent other bytes than its own checksum (Repr-Digest) says"
                )
    except OSError:
        draft.discard()
        raise
    finally:
        draft.leave()


def _is_whole(draft: Draft, answer: httpx.Response) -> bool:
    """Whether the file has the sha256 of RFC 9530's Repr-Digest; True where none is sent."""
    found = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", answer.headers.get("repr-digest", ""))
    if found is None or draft.path is None:
        return True
    try:
        promised = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return True
    with draft.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == promised


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
