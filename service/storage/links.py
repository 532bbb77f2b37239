"""Signed, expiring addresses for the local folder: what a presigned URL is for S3.

The signature is an HMAC-SHA256 (RFC 2104) over key, expiry and file name: none of the three can be changed.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from service.storage.artifact_store import check_filename, check_key

MIN_SECRET_BYTES = 16


class LinkRefused(Exception):
    """The link has expired, or its signature does not fit; the text says which."""


@dataclass(frozen=True)
class LinkSigner:
    """Makes and checks links. `clock` gives Unix seconds."""

    secret: bytes = field(repr=False)
    public_base_url: str
    clock: Callable[[], float]
    _begun: hmac.HMAC = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_SECRET_BYTES:
            raise ValueError(
                f"storage secret has {len(self.secret)} bytes, at least {MIN_SECRET_BYTES} are needed"
            )
        object.__setattr__(self, "_begun", hmac.new(self.secret, digestmod="sha256"))

    def link(self, key: str, expires_s: int, filename: str | None = None) -> str:
        """`<public base url>/artifacts/<key>?expires=..&signature=..`, good for `expires_s` seconds."""
        check_key(key)
        expires = int(self.clock()) + expires_s
        query: dict[str, str | int] = {"expires": expires}
        if filename is not None:
            query["filename"] = check_filename(filename)
        query["signature"] = self._signature(key, expires, filename)
        return f"{self.public_base_url.rstrip('/')}/artifacts/{key}?{urlencode(query)}"

    def events_link(self, job_id: str, expires_s: int) -> str:
        """`<public base url>/events/<job id>?expires=..&signature=..`: the events of a job, for browsers."""
        expires = int(self.clock()) + expires_s
        signature = self._signature(_events_of(job_id), expires, None)
        return f"{self.public_base_url.rstrip('/')}/events/{job_id}?expires={expires}&signature={signature}"

    def verify_events(self, job_id: str, expires: int, signature: str) -> None:
        """As `verify`, for a link made by `events_link`."""
        self.verify(_events_of(job_id), expires, signature)

    def verify(self, key: str, expires: int, signature: str, filename: str | None = None) -> None:
        """Returns if this link was made here and still holds; else LinkRefused.

        The signature is looked at first: a stranger learns nothing about a link by playing with its expiry.
        """
        expected = self._signature(key, expires, filename)
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise LinkRefused("the signature does not fit this link")
        if self.clock() >= expires:
            raise LinkRefused("the link has expired")

    def _signature(self, key: str, expires: int, filename: str | None) -> str:
        # A newline can stand in none of the three, so no two links share one text.
        text = f"{key}\n{expires}\n{filename or ''}"
        # Every poll has a link in its answer, and to begin anew with the secret takes most of the time.
        mac = self._begun.copy()
        mac.update(text.encode(errors="replace"))
        return mac.hexdigest()


def _events_of(job_id: str) -> str:
    """No key of an object begins so (`check_key`): a link to a file never opens events, nor the other way."""
    return f"//events/{job_id}"
