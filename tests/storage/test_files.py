"""The local folder: atomic, durable, and honest when the disk is full."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from service.storage.artifact_store import ArtifactMissing, StorageUnavailable
from service.storage.files import WRITING, FileStore
from service.storage.links import LinkRefused, LinkSigner

KEY = "default/video_1/1/video.mp4"


@pytest.fixture
def small_files() -> Iterator[int]:
    """The kernel refuses to let any file grow past this many bytes: as real as a full disk, and harmless."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_sentence_and_leaves_nothing_behind(file_store: FileStore, small_files: int) -> None:
    file_store.put(KEY, b"old", "video/mp4")
    with pytest.raises(StorageUnavailable, match="has no room for 200000 bytes more"):
        file_store.put(KEY, bytes(2 * small_files), "video/mp4")
    assert b"".join(file_store.read(KEY)) == b"old"
    assert list((file_store.root / WRITING).iterdir()) == []


def test_an_object_is_one_plain_file_at_its_key(file_store: FileStore) -> None:
    file_store.put(KEY, b"a film", "video/mp4")
    assert (file_store.root / KEY).read_bytes() == b"a film"
    file_store.delete(KEY)
    assert [path.name for path in file_store.root.iterdir()] == [WRITING]


def test_readers_never_see_half_an_object(file_store: FileStore) -> None:
    bodies = [bytes([letter]) * 300_000 for letter in b"abc"]
    file_store.put(KEY, bodies[0], "video/mp4")
    over = threading.Event()
    seen: list[bytes] = []

    def watch() -> None:
        while not over.is_set():
            seen.append(b"".join(file_store.read(KEY)))

    reader = threading.Thread(target=watch)
    reader.start()
    for _ in range(8):
        for body in bodies:
            file_store.put(KEY, body, "video/mp4")
    over.set()
    reader.join()
    assert seen
    assert set(seen) <= set(bodies)


def test_puts_survive_deletes_that_prune_their_folder(file_store: FileStore) -> None:
    """Four writers share one folder, and each empties it again and again under the hands of the others."""
    troubles: list[Exception] = []

    def come_and_go(name: str) -> None:
        try:
            for _ in range(100):
                file_store.put(f"default/video_1/1/{name}.mp4", b"v", "video/mp4")
                file_store.delete(f"default/video_1/1/{name}.mp4")
        except StorageUnavailable as trouble:
            troubles.append(trouble)

    writers = [threading.Thread(target=come_and_go, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert troubles == []
    assert [path.name for path in file_store.root.iterdir()] == [WRITING]


def test_what_a_killed_writer_left_is_swept_at_the_next_start(file_store: FileStore) -> None:
    old, fresh = (file_store.root / WRITING / name for name in ("old", "fresh"))
    old.write_bytes(b"half")
    fresh.write_bytes(b"half, and still being written")
    os.utime(old, (time.time() - 7200,) * 2)
    FileStore(file_store.root, file_store.signer)
    assert not old.exists()
    assert fresh.exists()
    assert list(file_store.list("")) == []


def test_a_folder_where_a_file_is_asked_for_is_a_missing_object(file_store: FileStore) -> None:
    file_store.put(KEY, b"v", "video/mp4")
    for key in ("default/video_1", f"{KEY}/deeper"):
        with pytest.raises(ArtifactMissing):
            file_store.head(key)
        with pytest.raises(ArtifactMissing):
            file_store.read(key)
        file_store.delete(key)
    assert b"".join(file_store.read(KEY)) == b"v"


def test_a_folder_that_cannot_be_used_is_unavailable(tmp_path: Path, file_store: FileStore) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"a file, not a folder")
    with pytest.raises(StorageUnavailable, match="blocked"):
        FileStore(blocked / "artifacts", file_store.signer)
    (file_store.root / WRITING).rmdir()
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        file_store.check()
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        file_store.put(KEY, b"v", "video/mp4")


def _parts(link: str) -> tuple[str, int, str, str | None]:
    split = urlsplit(link)
    query = parse_qs(split.query)
    key = split.path.removeprefix("/artifacts/")
    return key, int(query["expires"][0]), query["signature"][0], query.get("filename", [None])[0]


@pytest.mark.parametrize("filename", [None, "video_1.mp4"])
def test_a_link_holds_until_it_expires(file_store: FileStore, clock, filename: str | None) -> None:
    link = file_store.link(KEY, 60, filename)
    assert link.startswith(f"http://127.0.0.1:8000/artifacts/{KEY}?expires=")
    key, expires, signature, name = _parts(link)
    assert (key, name) == (KEY, filename)
    file_store.signer.verify(key, expires, signature, name)
    clock.now += 59
    file_store.signer.verify(key, expires, signature, name)
    clock.now += 1
    with pytest.raises(LinkRefused, match="expired"):
        file_store.signer.verify(key, expires, signature, name)


def test_no_part_of_a_link_can_be_changed(file_store: FileStore) -> None:
    key, expires, signature, name = _parts(file_store.link(KEY, 60, "film.mp4"))
    file_store.signer.verify(key, expires, signature, name)
    changed = [
        (key.replace("video_1", "video_2"), expires, signature, name),
        (key, expires + 1, signature, name),
        (key, expires, signature[:-1] + ("0" if signature[-1] != "0" else "1"), name),
        (key, expires, "", name),
        (key, expires, "ünsigned \ud800", name),
        (key, expires, signature, None),
        (key, expires, signature, "evil.exe"),
    ]
    for parts in changed:
        with pytest.raises(LinkRefused, match="signature"):
            file_store.signer.verify(*parts)


def test_a_link_of_another_secret_is_refused(file_store: FileStore, clock) -> None:
    other = LinkSigner(b"another sixteen bytes", "http://127.0.0.1:8000", clock)
    with pytest.raises(LinkRefused):
        file_store.signer.verify(*_parts(other.link(KEY, 60)))


def test_a_short_secret_is_refused_and_none_is_ever_shown(clock) -> None:
    with pytest.raises(ValueError, match="5 bytes, at least 16"):
        LinkSigner(b"short", "http://127.0.0.1:8000", clock)
    assert "sixteen" not in repr(LinkSigner(b"sixteen bytes or more", "http://127.0.0.1:8000", clock))
