"""The manifest of a model folder: what it refuses, and that it cannot point outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import BadWeights
from models.manifest import MANIFEST, check_manifest, parse_manifest, write_manifest

ENDLESS = '{"files": {"a.json": {"bytes": Infinity, "sha256": ""}}, "weight_hash": ""}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    (tmp_path / "words.txt").write_text("red\n")
    return tmp_path


def test_command_writes_the_hash_that_the_check_returns(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "models.manifest", str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == check_manifest(folder)
    assert set(json.loads((folder / MANIFEST).read_text())["files"]) == {"unet/config.json", "words.txt"}


def test_an_empty_folder_gets_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"there is no \.json, .*\.safetensors, .* file in it"):
        write_manifest(tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/passwd.json", "unet/../../x.json", ".hidden.json", ""]
)
def test_a_name_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    write_manifest(folder)
    raw = json.loads((folder / MANIFEST).read_text())
    raw["files"][name] = raw["files"].pop("words.txt")
    with pytest.raises(BadWeights, match="is not a file name with size and sha256"):
        parse_manifest(json.dumps(raw), "bucket/manifest.json")


def test_a_hash_that_does_not_follow_from_the_files_is_refused(folder: Path) -> None:
    write_manifest(folder)
    raw = json.loads((folder / MANIFEST).read_text()) | {"weight_hash": "0" * 64}
    (folder / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(BadWeights, match=r"weight_hash '0+' does not follow from the files listed"):
        check_manifest(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": {"a.json": 3}, "weight_hash": ""}', "\x00", ENDLESS, "[" * 100_000]
)
def test_what_is_no_manifest_says_so(text: str) -> None:
    with pytest.raises(BadWeights, match=r"^here is not a manifest: "):
        parse_manifest(text, "here")


def test_weights_beside_the_listed_ones_are_refused(folder: Path) -> None:
    write_manifest(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"of somebody else")
    with pytest.raises(
        BadWeights, match=r"unet/diffusion_pytorch_model\.safetensors is not in manifest\.json"
    ):
        check_manifest(folder)
