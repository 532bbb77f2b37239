"""From what the settings name to a folder on this machine: a path, an s3:// address or a hub id."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.errors import BadWeights
from service.logs import get_logger
from service.storage.artifact_store import ArtifactStore, InvalidKey, StorageUnavailable, check_key
from service.storage.settings import StorageSettings, open_bucket
from worker.settings import WorkerSettings
from worker.weights.bucket import BucketFolder
from worker.weights.cache import WeightsCache
from worker.weights.hub import Hub, HubAway

# A setting that went through a Path has lost one of the two slashes.
_BUCKET = re.compile(r"s3://?([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?\Z")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(?:@([\w./-]{1,200}))?\Z", re.ASCII)


class WeightsAway(Exception):
    """Where the weights are cannot be reached now, and there is no earlier copy: starting again may help."""


@dataclass(frozen=True)
class WeightsSource:
    """`open_bucket` makes a store on a bucket by its name; nothing is opened before it is needed."""

    cache: WeightsCache
    open_bucket: Callable[[str], ArtifactStore]
    hub: Hub
    pause: Callable[[float], object] = time.sleep

    def folder(self, weights: str | Path) -> Path:
        """The local folder. Raises BadWeights for what is wrong in the setting or at the place, WeightsAway.

        A path that exists is that path, whatever else its name could mean.
        """
        address = str(weights)
        if address.startswith("s3:"):
            return self._from_bucket(address)
        path = Path(address).expanduser()
        if path.exists() or not _HUB_ID.match(address):
            return path
        return self._from_hub(address)

    def _from_bucket(self, address: str) -> Path:
        matched = _BUCKET.match(address)
        prefix = (matched.group(2) or "").rstrip("/") if matched else ""
        try:
            if matched is None or (prefix and not check_key(prefix)):
                raise InvalidKey("expected s3://bucket/prefix")
        except InvalidKey as error:
            raise BadWeights(f"{address!r} is not the address of a folder in a bucket: {error}") from error
        bucket = matched.group(1)
        place = f"s3/{bucket}/{_one_name(prefix)}"
        there = BucketFolder(
            self.open_bucket(bucket), prefix, f"s3://{bucket}/{prefix}".rstrip("/"), self.pause
        )
        try:
            manifest, stored = there.manifest()
            name = prefix.rpartition("/")[2] or bucket
            return self._kept(
                place, manifest.weight_hash[:16], name, lambda into: there.fetch(manifest, stored, into)
            )
        except StorageUnavailable as error:
            return self._last_copy(place, str(error))

    def _from_hub(self, address: str) -> Path:
        repo, _, revision = address.partition("@")
        place = f"hub/{repo.replace('/', '--')}/{_one_name(revision or 'main')}"
        try:
            model = self.hub.find(repo, revision or None)
            name = repo.rpartition("/")[2]
            return self._kept(place, model.commit[:16], name, lambda into: self.hub.fetch(model, into))
        except HubAway as error:
            return self._last_copy(place, f"there is no folder {address!r} here, and {error}")
        except BadWeights as error:
            raise BadWeights(f"there is no folder {address!r} here, and {error}") from error

    def _kept(self, place: str, version: str, name: str, fetch: Callable[[Path], None]) -> Path:
        try:
            return self.cache.folder(place, version, name, fetch)
        except OSError as error:  # a full disk or a folder of somebody else's: neither is the model's fault
            raise WeightsAway(f"MICROCINEMA_WEIGHTS_CACHE cannot be written: {error}") from error

    def _last_copy(self, place: str, problem: str) -> Path:
        last = self.cache.last(place)
        if last is None:
            raise WeightsAway(problem)
        get_logger("worker").warning("weights_from_last_copy", folder=str(last), problem=problem)
        return last


def _one_name(path: str) -> str:
    """A path as the name of one folder: no two paths share one, none is hidden or leads elsewhere."""
    return "at-" + path.replace("+", "++").replace("/", "+-")


def with_local_models(settings: WorkerSettings, storage: StorageSettings) -> WorkerSettings:
    """The same settings with every model as a folder on this machine, fetched if need be.

    Raises BadWeights naming the setting, or WeightsAway.
    """
    cache = WeightsCache(settings.weights_cache.expanduser())
    source = WeightsSource(cache, lambda bucket: open_bucket(storage, bucket), Hub())
    folders = {}
    for name in ("weights", "picture_model"):
        named = getattr(settings, name)
        if named is not None:
            try:
                folders[name] = source.folder(named)
            except BadWeights as error:
                raise BadWeights(f"MICROCINEMA_{name.upper()} {error}") from error
    return settings.model_copy(update=folders)
