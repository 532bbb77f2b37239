"""A folder can name nothing that makes the worker import or run what is not diffusers' or transformers'."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rig.tiny_pipelines import PICTURE_PIPELINES, VIDEO_PIPELINES, write_tiny

from models.diffusers_picture import DiffusersPicture
from models.diffusers_video import DiffusersVideo
from models.errors import BadWeights
from models.pipeline_index import check_index

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {name: write_tiny(name, root) for name in ("modelscope", "sd15")}


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["modelscope"], tmp_path / "modelscope"))


def change(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that could be imported, and would leave a trace."""
    folder, trace = tmp_path / "importable", tmp_path / "trace"
    folder.mkdir()
    (folder / "trap_of_this_test.py").write_text(f"open({str(trace)!r}, 'w')\nclass Net: ...\n")
    monkeypatch.syspath_prepend(folder)
    return trace


@pytest.mark.parametrize("part", ["unet", "scheduler", "text_encoder", "extra"])
def test_a_module_of_another_library_is_not_even_imported(folder: Path, trap: Path, part: str) -> None:
    change(folder / "model_index.json", **{part: ["trap_of_this_test", "Net"]})
    said = f"{part} is of the library 'trap_of_this_test': only components of diffusers, transformers"
    with pytest.raises(BadWeights, match=re.escape(said)):
        DiffusersVideo.load(folder, CPU, name="any")
    assert "trap_of_this_test" not in sys.modules
    assert not trap.exists()


def test_nor_of_a_picture_models_folder(folders: dict[str, Path], tmp_path: Path, trap: Path) -> None:
    folder = Path(shutil.copytree(folders["sd15"], tmp_path / "sd15"))
    change(folder / "model_index.json", safety_checker=["trap_of_this_test", "Net"])
    with pytest.raises(BadWeights, match="safety_checker is of the library 'trap_of_this_test'"):
        DiffusersPicture.load(folder, CPU)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("part", "origin", "says"),
    [
        ("unet", ["os", "system"], "library 'os'"),
        ("unet", ["diffusers.utils", "Net"], "library 'diffusers.utils'"),
        ("unet", ["diffusers", "DiffusionPipeline"], "'DiffusionPipeline' of diffusers: no model"),
        (
            "unet",
            ["diffusers", "StableDiffusionPipeline"],
            "of diffusers: no model",
        ),
        ("unet", ["diffusers", "utils"], "'utils' of diffusers: no model"),
        ("unet", ["diffusers", "__name__"], "'__name__' of diffusers: no model"),
        ("unet", ["diffusers", "NoSuchNet"], "'NoSuchNet' of diffusers: no model"),
        ("tokenizer", ["transformers", "AutoTokenizer"], "'AutoTokenizer' of transformers: no model"),
        ("tokenizer", ["transformers", "pipeline"], "'pipeline' of transformers: no model"),
        ("tokenizer", ["transformers", "Trainer"], "'Trainer' of transformers: no model"),
        ("unet", ["stable_diffusion", "StableDiffusionPipeline"], "of stable_diffusion: no model"),
        ("unet", ["diffusers"], "must be [library, class], got ['diffusers']"),
        ("unet", ["diffusers", None], "must be [library, class]"),
        ("unet", ["diffusers", "UNet3DConditionModel", "more"], "must be [library, class]"),
        ("unet", [["os"], "system"], "must be [library, class]"),
        ("../unet", ["diffusers", "UNet3DConditionModel"], "component '../unet': no name of a folder"),
        ("/etc", ["diffusers", "UNet3DConditionModel"], "component '/etc': no name of a folder"),
        ("custom_pipeline", "someone/theirs", "custom_pipeline 'someone/theirs' asks for code"),
        ("trust_remote_code", True, "trust_remote_code True asks for code"),
    ],
)
def test_what_is_no_component_is_refused_by_name(folder: Path, part: str, origin: Any, says: str) -> None:
    change(folder / "model_index.json", **{part: origin})
    with pytest.raises(BadWeights, match=re.escape(says)):
        DiffusersVideo.load(folder, CPU, name="any")


@pytest.mark.parametrize("name", [["mine", "Pipeline"], None, 7])
def test_a_pipeline_of_its_own_is_refused(folder: Path, name: Any) -> None:
    change(folder / "model_index.json", _class_name=name)
    with pytest.raises(BadWeights, match="does not name a pipeline of diffusers"):
        DiffusersVideo.load(folder, CPU, name="any")


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("text_encoder/config.json", {"auto_map": {"AutoModel": "mine--model.Net"}}),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["mine.Words", None]}}),
        ("unet/config.json", {"trust_remote_code": True}),
        ("scheduler/scheduler_config.json", {"custom_pipeline": "mine"}),
        ("text_encoder/config.json", {"_attn_implementation": "someone/attention"}),
    ],
)
def test_a_config_that_asks_for_code_is_refused(folder: Path, file: str, entry: dict[str, Any]) -> None:
    change(folder / file, **entry)
    with pytest.raises(BadWeights, match=rf"{file}: {next(iter(entry))} .* asks for code from elsewhere"):
        DiffusersVideo.load(folder, CPU, name="any")


def test_what_diffusers_itself_writes_is_allowed(tmp_path: Path) -> None:
    """Old folders name the safety checker by the module that it lies in; parts may be left out."""
    for name in (*PICTURE_PIPELINES, *VIDEO_PIPELINES):
        check_index(write_tiny(name, tmp_path))
    index = tmp_path / "sd15" / "model_index.json"
    change(index, safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    check_index(tmp_path / "sd15")
