"""Stored tensors: strictness, shards, variants, and that nothing is ever unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.errors import BadWeights
from models.tensors import Place, StoredTensors, assign, read_state, refuse_strange, write_tensors

CPU = torch.device("cpu")


class Poison:
    """Unpickling this writes a file: the file that must never appear."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.trace,)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        empty = network()
    stored = StoredTensors.of_component(folder)
    state, used = read_state(empty.state_dict(), stored, CPU, dtype)
    assert used == set(stored)
    assign(empty, state)
    return empty.state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("shard_bytes", "files"), [(10_000, 1), (300, 2), (1, 6)])
def test_tensors_come_back_from_any_number_of_shards(
    tmp_path: Path, dtype: torch.dtype, shard_bytes: int, files: int
) -> None:
    state = network().state_dict()
    if dtype is torch.float16 and shard_bytes == 300:
        shard_bytes = 150  # half the bytes a tensor, the same shards
    write_tensors(tmp_path, state, dtype, shard_bytes=shard_bytes)
    assert len(list(tmp_path.glob("*.safetensors"))) == files
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").exists() == (files > 1)
    back = load(tmp_path)
    assert all(torch.equal(back[k], v.to(dtype).float()) for k, v in state.items())
    assert {v.dtype for v in load(tmp_path, torch.float16).values()} == {torch.float16}


def test_a_changed_file_does_not_change_loaded_weights(tmp_path: Path) -> None:
    write_tensors(tmp_path, network().state_dict(), torch.float32)
    back = load(tmp_path)
    before = {k: v.clone() for k, v in back.items()}
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    with path.open("r+b") as file:  # in place, as a careless copy would
        file.write(b"\xff" * path.stat().st_size)
    assert all(torch.equal(back[k], v) for k, v in before.items())


def test_the_fp16_variant_is_taken_when_it_is_alone(tmp_path: Path) -> None:
    state = {k: v.half() for k, v in network().state_dict().items()}
    save_file(state, tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    assert torch.equal(load(tmp_path)["0.weight"], state["0.weight"].float())


def test_wrong_shape_names_the_key_and_both_shapes(tmp_path: Path) -> None:
    state = network().state_dict()
    write_tensors(tmp_path, state | {"0.weight": torch.zeros(8, 5)}, torch.float32)
    with pytest.raises(BadWeights, match=r"'0\.weight' has shape \(8, 5\), '0\.weight' needs \(8, 6\)"):
        load(tmp_path)


def test_missing_and_foreign_keys_are_named(tmp_path: Path) -> None:
    state = network().state_dict()
    state["2.scale"] = state.pop("2.bias")
    write_tensors(tmp_path, state, torch.float32)
    with pytest.raises(BadWeights, match=r"1 of 6 parameters are missing, the first is '2\.bias'"):
        load(tmp_path)
    with pytest.raises(BadWeights, match=r"no parameter takes '2\.scale': another architecture"):
        refuse_strange(tmp_path, ["2.scale"])


def test_thirds_of_a_packed_tensor(tmp_path: Path) -> None:
    packed = torch.arange(18.0).reshape(9, 2)
    save_file({"in_proj": packed}, tmp_path / "a.safetensors")
    wanted = {name: torch.empty(3, 2, device="meta") for name in "qkv"}
    stored = StoredTensors.of_file(tmp_path / "a.safetensors")
    state, used = read_state(
        wanted, stored, CPU, torch.float32, lambda name: [Place("in_proj", third="qkv".index(name))]
    )
    assert torch.equal(torch.cat([state["q"], state["k"], state["v"]]), packed)
    assert used == {"in_proj"}
    with pytest.raises(BadWeights, match=r"shape \(9, 2\), 'q' needs \(4, 2\) in each third of its rows"):
        read_state({"q": torch.empty(4, 2)}, stored, CPU, torch.float32, lambda _: [Place("in_proj", 0)])


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt", ".pth", ".pkl"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_pickle_is_refused_and_never_read(tmp_path: Path, suffix: str, beside: bool) -> None:
    trace, folder = tmp_path / "trace", tmp_path / "unet"
    folder.mkdir()
    poison = folder / f"diffusion_pytorch_model{suffix}"
    poison.write_bytes(pickle.dumps(Poison(trace)))
    if beside:
        write_tensors(folder, network().state_dict(), torch.float32)
    with pytest.raises(BadWeights, match="is a pickle, which can run code while it is read"):
        load(folder)
    with pytest.raises(BadWeights, match="is a pickle, which can run code while it is read"):
        StoredTensors.of_file(poison)
    assert not trace.exists()
    pickle.loads(poison.read_bytes())
    assert trace.exists()  # the poison works: had anything read it, the assertion above would have failed


def test_a_pickle_under_another_name_is_not_read_either(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Poison(tmp_path / "trace")))
    with pytest.raises(BadWeights, match="cannot be read as safetensors"):
        StoredTensors.of_file(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"0.weight": "../other.safetensors"}, "weight_map must map tensor names to files of this folder"),
        ({"strange": "diffusion_pytorch_model-00001-of-00006.safetensors"}, "tensor 'strange' is not where"),
        ({"0.weight": "absent.safetensors"}, "cannot be read as safetensors"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    write_tensors(tmp_path, network().state_dict(), torch.float32, shard_bytes=1)
    path = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] |= change
    path.write_text(json.dumps(index))
    with pytest.raises(BadWeights, match=sentence):
        load(tmp_path)


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    write_tensors(tmp_path, network().state_dict(), torch.float32)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadWeights, match=r"diffusion_pytorch_model\.safetensors cannot be read"):
        load(tmp_path)
