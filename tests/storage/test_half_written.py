"""Objects whose writing breaks off in the middle are not there at all, in a folder and on a server."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rig.processes import ROOT, wait_until
from rig.tcp_proxy import LossyProxy

from service.storage.artifact_store import ArtifactMissing, StorageUnavailable
from service.storage.files import WRITING, FileStore
from service.storage.s3 import S3Place, S3Store, connect

KEY = "default/video_half/1/video.mp4"
BODY = os.urandom(1_000_000)
HALF = len(BODY) // 2

WRITER = """
import sys, time
from pathlib import Path
from service.storage.files import FileStore
from service.storage.links import LinkSigner
store = FileStore(Path(sys.argv[1]), LinkSigner(b"sixteen bytes or more", "http://x", time.time))
while True:
    store.put(sys.argv[2], bytes([int(sys.argv[3])]) * (64 << 20), "video/mp4")
"""


def write_without_end(root: Path, letter: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", WRITER, str(root), KEY, str(letter)]
    return subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def partial(root: Path) -> set[str]:
    """The files that hold a part of a body."""
    names = set()
    for aside in (root / WRITING).iterdir():
        with suppress(FileNotFoundError):
            if 0 < aside.stat().st_size < 64 << 20:
                names.add(aside.name)
    return names


def test_a_writer_killed_in_the_middle_leaves_nothing_under_the_name(file_store: FileStore) -> None:
    whole = b"\x07" * 1000
    file_store.put(KEY, whole, "video/mp4")
    for _ in range(3):
        left = partial(file_store.root)  # by the writers killed before
        writer = write_without_end(file_store.root, 9)
        try:
            wait_until(lambda left=left: partial(file_store.root) > left, 60, "a file is being written")
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait(30)
        body = b"".join(file_store.read(KEY))
        assert body in (whole, b"\x09" * (64 << 20))
        assert hashlib.sha256(body).hexdigest() == file_store.head(KEY).sha256
        assert [stored.key for stored in file_store.list("")] == [KEY]


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[LossyProxy]:
    """In front of the server that `s3_store` speaks to."""
    port = urlsplit(s3_server.place.endpoint_url).port
    with LossyProxy(("127.0.0.1", port)) as proxy:
        yield proxy


@pytest.fixture
def place(s3_server: Any, proxy: LossyProxy) -> S3Place:
    """The server, through the proxy."""
    return replace(s3_server.place, endpoint_url=f"http://127.0.0.1:{proxy.port}")


@pytest.mark.parametrize("before", [None, b"the last whole one"])
def test_a_connection_cut_in_mid_body_leaves_what_was_there(
    s3_store: S3Store, place: S3Place, proxy: LossyProxy, before: bytes | None
) -> None:
    through_proxy = connect(place, tries=1)
    s3_store.delete(KEY)
    if before is not None:
        s3_store.put(KEY, before, "video/mp4")
    proxy.cut_after = HALF
    with pytest.raises(StorageUnavailable, match="is away"):
        through_proxy.put(KEY, BODY, "video/mp4")
    assert proxy.cuts == 1
    if before is None:
        with pytest.raises(ArtifactMissing):
            s3_store.head(KEY)
        assert [stored.key for stored in s3_store.list(KEY)] == []
    else:
        assert b"".join(s3_store.read(KEY)) == before
    stored = through_proxy.put(KEY, BODY, "video/mp4")
    assert (stored.bytes, stored.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert b"".join(s3_store.read(KEY)) == BODY


def test_a_body_cut_once_arrives_at_the_second_try_of_the_same_call(
    s3_store: S3Store, place: S3Place, proxy: LossyProxy
) -> None:
    s3_store.delete(KEY)
    store = connect(place, tries=3)
    proxy.cut_after = HALF
    assert store.put(KEY, BODY, "video/mp4").bytes == len(BODY)
    assert proxy.cuts == 1
    assert b"".join(s3_store.read(KEY)) == BODY
