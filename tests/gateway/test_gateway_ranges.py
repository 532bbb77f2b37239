"""The Range header, case by case, without a server."""

import pytest

from service.api.byte_ranges import asked_range, names_etag, still_the_same
from service.refusals import UnsatisfiableRange


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, 1000),
        ("bytes=999-", 999, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-100", 900, 1000),
        ("bytes=-5000", 0, 1000),  # a longer suffix is the whole file, still as a range
        ("bytes=990-5000", 990, 1000),
        ("bytes=0-9999999999999999999", 0, 1000),
        ("bytes=5-" + "9" * 20, 5, 1000),  # beyond 64 bits
        ("bytes=5-" + "9" * 5000, 5, 1000),  # more digits than Python would read
        ("bytes=-" + "9" * 30, 0, 1000),
        ("bytes=" + "0" * 40 + "5-" + "0" * 40 + "9", 5, 10),
        ("Bytes= 5-9 ", 5, 10),
    ],
)
def test_good_ranges(header: str, start: int, end: int) -> None:
    found = asked_range(header, 1000)
    assert found is not None
    assert (found.start, found.end) == (start, end)
    assert found.content_range == f"bytes {start}-{end - 1}/1000"


@pytest.mark.parametrize("header", [None, "items=0-1", "bytes=0-1,5-6"])
def test_ranges_that_a_server_may_ignore(header: str | None) -> None:
    assert asked_range(header, 1000) is None


@pytest.mark.parametrize(
    "header",
    [
        "bytes=1000-",
        "bytes=" + "9" * 30 + "-",
        "bytes=" + "9" * 30 + "-" + "9" * 40,
        "bytes=5-4",
        "bytes=-0",
        "bytes=-",
        "bytes=",
        "bytes=a-b",
        "bytes=1",
        "bytes",
        "bytes=--1",
        "",
    ],
)
def test_bad_ranges_name_the_length(header: str) -> None:
    with pytest.raises(UnsatisfiableRange) as caught:
        asked_range(header, 1000)
    assert caught.value.headers["Content-Range"] == "bytes */1000"


def test_etag_conditions() -> None:
    assert still_the_same(None, '"a"')
    assert still_the_same('"a"', '"a"')
    assert not still_the_same('W/"a"', '"a"')
    assert not still_the_same("Sun, 22 Nov 2026 00:00:00 GMT", '"a"')
    assert names_etag('"x", W/"a"', '"a"')
    assert names_etag("*", '"a"')
    assert not names_etag('"x"', '"a"')
    assert not names_etag(None, '"a"')
