"""Who may use a state folder, and who may look into it."""

import os
import stat

import pytest

from service.stack.state_folder import StateFolder, StateFolderForeign


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_for_its_owner_alone(tmp_path):
    with StateFolder(tmp_path / "deep" / "state") as folder:
        assert mode(folder.path) == 0o700
        assert mode(folder.folder("artifacts")) == 0o700


@pytest.mark.parametrize("before", [0o755, 0o777, 0o750])
def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path, before):
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(before)
    with StateFolder(path):
        assert mode(path) == 0o700


def test_another_users_folder_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o755)
    stranger = os.geteuid() + 1
    sentence = f"{path} belongs to user {os.geteuid()}, this is user {stranger}: choose a folder of your own"
    with pytest.raises(StateFolderForeign, match=sentence):
        StateFolder(path, own_uid=lambda: stranger)
    assert mode(path) == 0o755
    assert list(path.iterdir()) == []
