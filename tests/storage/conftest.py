"""A real SeaweedFS for the S3 tests, and one fixture that runs the shared tests on both kinds of store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.seaweed import RunningS3, running_s3

from service.storage.artifact_store import ArtifactStore
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.storage.s3 import S3Store, connect


class MovableClock:
    """Unix seconds that stand still until a test moves them."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    with running_s3(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_store(s3_server: RunningS3) -> S3Store:
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
