"""The storage of the record that an operator's command on this machine works on."""

from pathlib import Path

from service.contracts.environment import read_settings
from service.stack.settings import StackSettings
from service.storage.pairing import MarkedStore
from service.storage.settings import StorageSettings, open_store

ARTIFACTS = "artifacts"


def open_storage(settings: StackSettings, state_dir: Path) -> MarkedStore:
    """The storage that the environment names or, without REDIS_URL, the embedded stack's own folder.

    Raises StorageUnavailable and UnusableSettings.
    """
    place = read_settings(StorageSettings)
    if settings.redis_url is None:
        own = {"storage": "files", "storage_dir": state_dir.resolve() / ARTIFACTS}
        place = place.model_copy(update=own)
    return open_store(place)
