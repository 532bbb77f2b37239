"""The Range header, as RFC 9110 section 14 has it, for one range at a time."""

import re
from dataclasses import dataclass

from service.refusals import UnsatisfiableRange, shown

_RANGE = re.compile(r"(?P<first>[0-9]*)-(?P<last>[0-9]*)")
_DIGITS_READ = 19  # a position with more digits lies beyond any file, and so do its first 19


@dataclass(frozen=True)
class ByteRange:
    """The bytes [start, end) of a file of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def content_range(self) -> str:
        """The Content-Range of a 206 answer."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def asked_range(header: str | None, size: int) -> ByteRange | None:
    """The range that `header` asks of a file of `size` bytes; None: the whole file.

    None also for units other than bytes and for several ranges, both of which section 14.2 lets a server
    ignore. A malformed or unsatisfiable range raises UnsatisfiableRange: a client that resumes a download
    must not get the start of it instead.
    """
    unit, _, ranges = (header or "").partition("=")
    if header is None or (unit.strip().lower() != "bytes" and ranges) or "," in ranges:
        return None
    match = _RANGE.fullmatch(ranges.strip())
    if match is None or not any(match.groups()):
        raise _refused(header, "such as bytes=0-99, bytes=100- or bytes=-100", size)
    first, last = match["first"], match["last"]
    if not first:  # the last n bytes
        start, end = max(size - _position(last), 0), size
    else:
        # A last position beyond the end means the end, however far beyond it is (section 14.1.2).
        start, end = _position(first), min(_position(last) + 1, size) if last else size
        if last and _position(last) < start:
            raise _refused(header, "ascending", size)
    if start >= end:
        raise _refused(header, f"within 0 to {size - 1}", size)
    return ByteRange(start, end, size)


def _position(digits: str) -> int:
    """The number, or one that is too large as well: Python reads only so many digits (CVE-2020-10735)."""
    return int(digits.lstrip("0")[:_DIGITS_READ] or "0")


def _refused(header: str, bound: str, size: int) -> UnsatisfiableRange:
    return UnsatisfiableRange(
        f"Range must be {bound}, got {shown(header)}",
        param="Range",
        headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
    )


def still_the_same(if_range: str | None, etag: str) -> bool:
    """Whether If-Range lets the range stand: absent, or exactly this ETag (section 13.1.5)."""
    return if_range is None or if_range.strip() == etag


def names_etag(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match lists this ETag; weak comparison, section 13.1.2."""
    if if_none_match is None:
        return False
    listed = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in listed or etag in listed
