"""A model folder from the Hugging Face hub: the only file that knows huggingface_hub.

Its own variables (HF_TOKEN, HF_HUB_OFFLINE, HF_ENDPOINT) are read by that library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import BadWeights

_WANTED = {".json", ".txt", ".safetensors", ".model"}
_COMMIT = re.compile(r"[0-9a-f]{40,64}\Z")


class HubAway(Exception):
    """The hub cannot be reached, or was told not to be; the text is one sentence."""


@dataclass(frozen=True)
class HubModel:
    """One repository at one commit, and the files of it that a pipeline folder needs."""

    repo: str
    commit: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Hub:
    """`endpoint` None: the public hub, or where HF_ENDPOINT points."""

    endpoint: str | None = None

    def find(self, repo: str, revision: str | None) -> HubModel:
        """Raises HubAway, or BadWeights when there is no such model or it holds no safetensors."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            found = HfApi(endpoint=self.endpoint).model_info(repo, revision=revision)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise BadWeights(f"the hub has no model {repo!r} at {revision or 'main'!r} for us") from error
        except Exception as error:
            raise _away(repo, error) from error
        names = pipeline_files([entry.rfilename for entry in found.siblings or ()])
        if not _COMMIT.match(found.sha or ""):  # it becomes a folder's name
            raise HubAway(f"the hub names no commit of {repo!r} but {found.sha!r}")
        if not any(name.endswith(".safetensors") for name in names):
            raise BadWeights(
                f"the hub's {repo!r} holds no component as safetensors; pickled weights are never loaded"
            )
        return HubModel(repo, str(found.sha), names)

    def fetch(self, model: HubModel, folder: Path) -> None:
        """Fill `folder`; goes on where an earlier try ended. Raises HubAway."""
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(
                model.repo,
                revision=model.commit,
                local_dir=folder,
                allow_patterns=list(model.names),
                endpoint=self.endpoint,
                max_workers=4,
            )
        except Exception as error:
            raise _away(model.repo, error) from error
        lost = [name for name in model.names if not (folder / name).is_file()]
        if lost:
            raise HubAway(f"the hub did not give {lost[0]!r} of {model.repo!r}")


def pipeline_files(names: Sequence[str]) -> tuple[str, ...]:
    """Of a repository's files those that a pipeline folder needs.

    Left out: pickles, single-file checkpoints beside the folders, the weights without moving average, and
    half-precision variants of what is there in full.
    """
    # By folder and not by file: the two precisions may be cut into different numbers of shards.
    in_full = {
        name.rpartition("/")[0]
        for name in names
        if name.endswith(".safetensors") and ".fp16" not in name and ".non_ema" not in name
    }
    wanted = []
    for name in names:
        suffix = Path(name).suffix
        single_file = suffix == ".safetensors" and "/" not in name
        halved = ".fp16" in name and name.rpartition("/")[0] in in_full
        if suffix in _WANTED and not (single_file or halved or ".non_ema" in name):
            wanted.append(name)
    return tuple(wanted)


def _away(repo: str, error: Exception) -> HubAway:
    return HubAway(
        f"the model {repo!r} could not be had from the hub ({_kind(error)}): without a network, "
        "name a folder or an s3:// address instead"
    )


def _kind(error: Exception) -> str:
    """The system's own words where it is this machine that refuses, such as a full disk."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
