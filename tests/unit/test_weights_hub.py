"""A model from a hub: only what a pipeline needs, kept for the days when the hub is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.hub import RunningHub, running_hub

from models.errors import BadWeights
from models.manifest import check_manifest, write_manifest
from service.storage.artifact_store import ArtifactStore
from worker.weights.cache import WeightsCache
from worker.weights.hub import Hub, pipeline_files
from worker.weights.source import WeightsAway, WeightsSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "unet").mkdir(parents=True)
    (made / "unet" / "weights.safetensors").write_bytes(bytes(range(250)) * 4)
    (made / "cinema.json").write_text("{}")
    write_manifest(made)
    return made


@pytest.fixture
def hub(folder: Path) -> Iterator[RunningHub]:
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    files |= {"unet/weights.bin": b"pickle", "README.md": b"read me"}
    with running_hub("some/model", files) as running:
        yield running


def source(tmp_path: Path, endpoint: str = "http://127.0.0.1:9") -> WeightsSource:
    def no_bucket(name: str) -> ArtifactStore:
        raise AssertionError(f"nobody named the bucket {name!r}")

    return WeightsSource(WeightsCache(tmp_path / "cache"), no_bucket, Hub(endpoint))


def test_of_a_hub_repository_only_what_a_pipeline_needs() -> None:
    names = [
        "README.md",
        "model_index.json",
        "v1-5-pruned.safetensors",
        "v1-5-pruned.ckpt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
    ]
    assert pipeline_files(names) == (
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
    )


def test_half_precision_is_left_out_however_it_is_cut_into_shards() -> None:
    full = [f"unet/diffusion_pytorch_model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    half = [f"unet/diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    indices = [f"unet/diffusion_pytorch_model.safetensors.index{end}.json" for end in ("", ".fp16")]
    assert pipeline_files([*full, *half, *indices]) == (*full, indices[0])
    assert pipeline_files([*half, indices[1]]) == (*half, indices[1])


@pytest.mark.parametrize("commit", ["../../../../elsewhere", "", "C0FFEE" + "0" * 34])
def test_a_commit_that_is_none_never_becomes_a_folder(tmp_path: Path, hub: RunningHub, commit: str) -> None:
    hub.commit = commit
    with pytest.raises(WeightsAway, match="the hub names no commit of 'some/model'"):
        source(tmp_path, hub.endpoint).folder("some/model")
    assert not (tmp_path / "cache").exists()


def test_a_hub_id_becomes_a_folder_without_pickles_and_outlives_the_hub(
    tmp_path: Path, folder: Path, hub: RunningHub
) -> None:
    got = source(tmp_path, hub.endpoint).folder("some/model")
    assert got.name == "model"
    assert check_manifest(got) == check_manifest(folder)
    assert not {"unet/weights.bin", "README.md"} & set(hub.asked)
    hub.asked.clear()
    assert source(tmp_path, hub.endpoint).folder("some/model") == got
    assert hub.asked == []
    assert source(tmp_path).folder("some/model") == got


def test_a_hub_without_the_model_is_an_error_of_the_settings(tmp_path: Path, hub: RunningHub) -> None:
    with pytest.raises(BadWeights, match="no folder 'some/other' here, and the hub has no model"):
        source(tmp_path, hub.endpoint).folder("some/other")
    hub.files = {"model_index.json": b"{}", "unet/weights.bin": b"pickle"}
    with pytest.raises(BadWeights, match="holds no component as safetensors; pickled weights"):
        source(tmp_path, hub.endpoint).folder("some/model")


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(
        WeightsAway, match=r"there is no folder 'some/model' here, and .* name a folder or an s3://"
    ):
        source(tmp_path).folder("some/model")
    assert time.monotonic() - began < 30
