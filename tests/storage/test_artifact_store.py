"""What every ArtifactStore promises, checked on a real folder and on a real S3 server."""

import hashlib
import secrets
import time

import pytest

from service.storage.artifact_store import (
    CHUNK_BYTES,
    ArtifactMissing,
    ArtifactStore,
    InvalidKey,
    RangeOutside,
)

BODY = bytes(range(256)) * 8


@pytest.fixture
def key() -> str:
    return f"default/video_{secrets.token_hex(6)}/1/video.mp4"


def test_a_stored_body_comes_back_with_its_checksum(store: ArtifactStore, key: str) -> None:
    stored = store.put(key, BODY, "video/mp4")
    assert stored.bytes == len(BODY)
    assert stored.sha256 == hashlib.sha256(BODY).hexdigest()
    assert abs(stored.modified - time.time()) < 60
    assert store.head(key) == stored
    assert b"".join(store.read(key)) == BODY


def test_a_large_body_arrives_in_chunks(store: ArtifactStore, key: str) -> None:
    body = secrets.token_bytes(3 * CHUNK_BYTES + 17)
    store.put(key, body, "video/mp4")
    chunks = list(store.read(key))
    assert b"".join(chunks) == body
    assert max(map(len, chunks)) <= CHUNK_BYTES
    assert (
        b"".join(store.read(key, CHUNK_BYTES - 5, 2 * CHUNK_BYTES + 5))
        == (body[CHUNK_BYTES - 5 : 2 * CHUNK_BYTES + 5])
    )


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 100), (100, 200), (2047, None), (2000, 9999), (0, None), (5, 6)]
)
def test_a_range_is_a_slice(store: ArtifactStore, key: str, start: int, end: int | None) -> None:
    store.put(key, BODY, "video/mp4")
    assert b"".join(store.read(key, start, end)) == BODY[start:end]


def test_a_range_past_the_end_is_refused_at_the_call(store: ArtifactStore, key: str) -> None:
    store.put(key, BODY, "video/mp4")
    with pytest.raises(RangeOutside, match="2048"):
        store.read(key, 2048)


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 5), (5, 4)])
def test_a_range_that_is_none_is_a_fault_of_the_caller(
    store: ArtifactStore, key: str, start: int, end: int | None
) -> None:
    store.put(key, BODY, "video/mp4")
    with pytest.raises(ValueError, match="byte range"):
        store.read(key, start, end)


def test_a_missing_object_is_named(store: ArtifactStore, key: str) -> None:
    with pytest.raises(ArtifactMissing, match=key):
        store.head(key)
    with pytest.raises(ArtifactMissing, match=key):
        store.read(key)


def test_a_second_put_replaces_the_object(store: ArtifactStore, key: str) -> None:
    store.put(key, b"first", "video/mp4")
    assert store.head(key).sha256 == hashlib.sha256(b"first").hexdigest()
    store.put(key, b"other", "video/mp4")
    assert b"".join(store.read(key)) == b"other"
    assert store.head(key).sha256 == hashlib.sha256(b"other").hexdigest()


def test_delete_is_idempotent(store: ArtifactStore, key: str) -> None:
    store.put(key, BODY, "video/mp4")
    store.delete(key)
    store.delete(key)
    with pytest.raises(ArtifactMissing):
        store.head(key)


def test_a_listing_holds_what_starts_with_the_prefix(store: ArtifactStore) -> None:
    job = f"default/video_{secrets.token_hex(6)}"
    keys = {f"{job}/1/keyframe.png", f"{job}/2/video.mp4", f"{job}/input/picture.png"}
    for each in keys | {f"{job}0/1/video.mp4"}:
        store.put(each, BODY, "video/mp4")
    assert {found.key for found in store.list(f"{job}/")} == keys
    assert {found.key for found in store.list(f"{job}/1/")} == {f"{job}/1/keyframe.png"}
    assert {found.key for found in store.list(f"{job}/1/key")} == {f"{job}/1/keyframe.png"}
    assert len([found for found in store.list(job) if found.bytes == len(BODY)]) == 4
    assert {found.key for found in store.list("")} >= keys
    assert list(store.list("default/no_such_job/")) == []


def test_a_listing_survives_deletes_on_the_way(store: ArtifactStore) -> None:
    job = f"default/video_{secrets.token_hex(6)}"
    for attempt in range(1, 6):
        store.put(f"{job}/{attempt}/video.mp4", BODY, "video/mp4")
    for found in store.list(f"{job}/"):
        store.delete(found.key)
    assert list(store.list(f"{job}/")) == []


BAD_KEYS = ["", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", ".secret", "a/.b", "a b"]
BAD_KEYS += ["a\nb", "a/b\n", "a\x00b", "ä", "a\\b", "%2e%2e/x", "a" * 513]


@pytest.mark.parametrize("bad", BAD_KEYS)
def test_keys_that_we_would_never_make_are_refused(store: ArtifactStore, bad: str) -> None:
    with pytest.raises(InvalidKey):
        store.put(bad, BODY, "video/mp4")
    with pytest.raises(InvalidKey):
        store.read(bad)
    with pytest.raises(InvalidKey):
        store.head(bad)
    with pytest.raises(InvalidKey):
        store.delete(bad)
    with pytest.raises(InvalidKey):
        store.link(bad, 60)


@pytest.mark.parametrize("bad", ["../", "/", "a/../", "a//"])
def test_prefixes_that_leave_the_store_are_refused(store: ArtifactStore, bad: str) -> None:
    with pytest.raises(InvalidKey):
        list(store.list(bad))


def test_a_store_that_works_is_ready(store: ArtifactStore) -> None:
    store.check()


def test_a_filename_that_would_need_quoting_is_refused(store: ArtifactStore, key: str) -> None:
    with pytest.raises(ValueError, match="filename"):
        store.link(key, 60, 'a"; evil="b')
