"""One small model for the short form; the scene itself is chaos.scene."""

from pathlib import Path

import pytest

from models.nano import write_nano


@pytest.fixture(scope="session")
def nano_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    write_nano(folder)
    return folder
