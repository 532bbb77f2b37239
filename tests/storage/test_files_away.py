"""The local folder taken away under a running process: a bare mount point proves nothing about objects."""

from pathlib import Path

import pytest

from service.storage.artifact_store import ArtifactMissing, StorageUnavailable
from service.storage.files import FileStore

KEY = "default/video_1/1/keyframe.png"


@pytest.fixture(params=["nothing there", "an empty folder", "a file"])
def away(request: pytest.FixtureRequest, file_store: FileStore) -> tuple[FileStore, Path]:
    """The store, and where its folder is now; what a bare mount point may look like stands in its place."""
    file_store.put(KEY, b"a picture", "image/png")
    kept = file_store.root.rename(file_store.root.with_name("elsewhere"))
    if request.param == "an empty folder":
        file_store.root.mkdir()
    if request.param == "a file":
        file_store.root.touch()
    return file_store, kept


def test_nothing_is_called_missing_while_the_folder_is_away(away: tuple[FileStore, Path]) -> None:
    """A job whose picture is missing fails for good; one whose storage is away waits."""
    store, kept = away
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        store.read(KEY)
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        store.head(KEY)
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        list(store.list("default/video_1/"))
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        store.delete(KEY)
    if store.root.is_dir():
        store.root.rmdir()
    store.root.unlink(missing_ok=True)
    kept.rename(store.root)
    assert b"".join(store.read(KEY)) == b"a picture"
    store.delete(KEY)
    with pytest.raises(ArtifactMissing):
        store.head(KEY)
    assert list(store.list("")) == []
