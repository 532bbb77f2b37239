"""A public folder is not trusted: no pickle is opened, no code of it runs, what is missing is named."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch
from rig.tiny_pictures import stable_diffusion
from rig.tiny_pipelines import write_tiny
from safetensors.torch import load_file, save_file

from models.diffusers_picture import DiffusersPicture
from models.diffusers_video import DiffusersVideo
from models.errors import BadWeights
from models.manifest import write_manifest
from models.orders import PictureOrder
from models.pipeline_folder import weight_hash
from models.stepwise import result_of

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny("modelscope", tmp_path)


class Poison:
    """Unpickled, it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, (f"open({str(self.trace)!r}, 'w')",))


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_a_pickle_in_place_of_weights_is_refused_unopened(folder: Path, tmp_path: Path, part: str) -> None:
    trace = tmp_path / "trace"
    weights = folder / f"{part}.safetensors"
    weights.unlink()
    name = "pytorch_model.bin" if part.startswith("text") else "diffusion_pytorch_model.bin"
    (weights.parent / name).write_bytes(pickle.dumps(Poison(trace)))
    with pytest.raises(BadWeights, match="modelscope"):
        DiffusersVideo.load(folder, CPU, name="any")
    assert not trace.exists()


def test_code_in_the_folder_is_refused_unrun(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (folder / "unet" / "mine.py").write_text(f"open({str(trace)!r}, 'w')\n")
    with pytest.raises(BadWeights, match=r"program code \(unet/mine\.py\)"):
        DiffusersVideo.load(folder, CPU, name="any")
    assert not trace.exists()


def test_a_missing_component_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    with pytest.raises(BadWeights, match="vae"):
        DiffusersVideo.load(folder, CPU, name="any")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("unet/diffusion_pytorch_model", "conv_in.weight"),
        ("text_encoder/model", "encoder.layers.1.mlp.fc1.weight"),
    ],
)
def test_a_parameter_that_is_stored_nowhere_is_named(folder: Path, part: str, name: str) -> None:
    """Not drawn at random, which is what the libraries do with a line in the log."""
    path = folder / f"{part}.safetensors"
    stored = load_file(path)
    (lost,) = [key for key in stored if key.endswith(name)]
    del stored[lost]
    save_file(stored, path, metadata={"format": "pt"})
    with pytest.raises(BadWeights, match=rf"{path.parent.name}: 1 parameters are .* '.*{re.escape(name)}'"):
        DiffusersVideo.load(folder, CPU, name="any")


def test_a_file_that_is_cut_off_is_refused(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadWeights, match="modelscope"):
        DiffusersVideo.load(folder, CPU, name="any")


def test_weights_of_other_shapes_are_refused(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 16', '"cross_attention_dim": 8'))
    with pytest.raises(BadWeights):
        DiffusersVideo.load(folder, CPU, name="any")


def test_half_precision_folders_load(tmp_path: Path) -> None:
    stable_diffusion().to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    painter = DiffusersPicture.load(tmp_path / "half", CPU)
    assert painter._pipeline.unet.dtype is torch.float32  # a CPU runs float32 whatever is stored


def test_full_precision_is_preferred_where_both_are_there(tmp_path: Path) -> None:
    pipeline = stable_diffusion()
    pipeline.save_pretrained(tmp_path / "both")
    exact = pipeline.unet.conv_in.weight.detach().clone()
    pipeline.to(torch.float16).save_pretrained(tmp_path / "both", variant="fp16")
    loaded = DiffusersPicture.load(tmp_path / "both", CPU)._pipeline.unet.conv_in.weight
    assert torch.equal(loaded, exact)


def test_a_tokenizer_that_is_only_a_sentencepiece_model_is_read(tmp_path: Path) -> None:
    """How CogVideoX, LTX and PixArt are published: no tokenizer.json."""
    folder = write_tiny("pixart", tmp_path)
    tokenizer = folder / "tokenizer"
    (tokenizer / "tokenizer.json").unlink()
    words = tmp_path / "words.txt"
    words.write_text("\n".join(f"a red circle moving left number {n}" for n in range(100)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(words),
        model_prefix=str(tokenizer / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    painter = DiffusersPicture.load(folder, CPU)
    order = PictureOrder("a red circle", "", 7, 2, 3.0, 32, 32)
    assert result_of(painter.paint([order]))[0].shape == (32, 32, 3)


def test_weight_hash_names_the_exact_weights_and_is_the_manifests(folder: Path) -> None:
    before = weight_hash(folder)
    assert before == weight_hash(folder)
    assert write_manifest(folder) == before == weight_hash(folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)
    with pytest.raises(BadWeights, match="unet"):  # the manifest says otherwise
        weight_hash(folder)
    (folder / "manifest.json").unlink()
    assert weight_hash(folder) != before
