"""Settings to a served model: which folder becomes what, under which name, with which public bounds."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rig.processes import ROOT
from rig.tiny_pipelines import VIDEO_PIPELINES, write_tiny

from models.nano import write_nano
from service.contracts.model_spec import ModelSpec
from worker.catalogue import misfit, public_spec
from worker.loading import WrongSettings, load
from worker.settings import WorkerSettings

TEXT_ONLY = ("modelscope", "cogvideox")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    made = {name: write_tiny(name, root) for name in (*VIDEO_PIPELINES, "sd15", "pixart")}
    write_nano(root / "nano")
    return {**made, "nano": root / "nano"}


def published(**settings: Any) -> ModelSpec:
    loaded = load(WorkerSettings(device="cpu", **settings))
    renderer = loaded.renderer
    return public_spec(
        renderer.spec, weight_hash=renderer.weight_hash, pool="default", samplers=loaded.samplers
    )


RULES = {
    "i2vgen-xl": ("first", (8, 32, 1, 0), (1280, 704), "DDIM", 16, 0.05),
    "svd": ("first", (8, 25, 1, 0), (1024, 576), "EulerDiscrete", 7, 0.0),
    "cogvideox-i2v": ("first", (9, 49, 8, 1), (720, 480), "CogVideoXDDIM", 8, 0.0),
    "ltx-i2v": ("first", (9, 257, 8, 1), (704, 480), "FlowMatchEulerDiscrete", 25, 0.0),
    "wan-i2v": ("first", (5, 81, 4, 1), (832, 480), "FlowMatchEulerDiscrete", 16, 0.0),
    "modelscope": (None, (8, 32, 1, 0), (256, 256), "DDIM", 8, 0.0),
    "cogvideox": (None, (9, 49, 8, 1), (720, 480), "CogVideoXDDIM", 8, 0.0),
}


@pytest.mark.parametrize("family", VIDEO_PIPELINES)
def test_each_family_publishes_its_rules_under_the_folders_name(folders: Any, family: str) -> None:
    spec = published(weights=folders[family])
    keyframe, frames, size, sampler, fps, gamma_max = RULES[family]
    rule = spec.frames
    assert spec.name == family
    assert spec.keyframe == keyframe
    assert (rule.min, rule.max, rule.multiple_of, rule.offset) == frames
    assert (spec.default_size, spec.samplers, spec.fps.default) == (size, (sampler,), fps)
    assert (spec.gamma.min, spec.gamma.max, spec.gamma.default) == (0.0, gamma_max, 0.0)
    assert spec.image_input is spec.image_required is (family not in TEXT_ONLY)
    assert spec.negative_prompt is (family != "svd")


def test_a_picture_model_makes_pictures_optional_and_gives_a_negative_prompt(folders: Any) -> None:
    alone = published(weights=folders["svd"])
    with_painter = published(weights=folders["svd"], picture_model=folders["sd15"])
    assert not with_painter.image_required
    assert with_painter.negative_prompt
    assert with_painter.weight_hash != alone.weight_hash


def test_a_picture_model_in_front_of_microcinema(folders: Any) -> None:
    own = published(weights=folders["nano"])
    other = published(weights=folders["nano"], picture_model=folders["pixart"], model_name="nano-pixart")
    assert other.name == "nano-pixart"
    assert other.weight_hash != own.weight_hash
    same = {"name", "weight_hash"}
    assert other.model_dump(exclude=same) == own.model_dump(exclude=same)
    loaded = load(WorkerSettings(device="cpu", weights=folders["nano"], picture_model=folders["pixart"]))
    assert (loaded.renderer.spec.picture_steps, loaded.renderer.spec.picture_guidance) == (20, 4.5)


LOADS_AND_LISTS = """
import sys
from pathlib import Path
from worker.loading import load, plan_of
from worker.settings import WorkerSettings
for name in (None, "other"):
    settings = WorkerSettings(device="cpu", weights=Path(sys.argv[1]), model_name=name)
    plan_of(settings)
    load(settings)
print("\\n".join(sys.modules))
"""


def test_a_microcinema_starts_without_the_pipelines_of_others(folders: Any) -> None:
    """They are hundreds of modules: nobody waits for them who serves none, under whatever name."""
    command = [sys.executable, "-c", LOADS_AND_LISTS, str(folders["nano"])]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.splitlines())
    assert {"models.cinema", "diffusers"} <= loaded
    assert {"models.diffusers_picture", "models.diffusers_video"}.isdisjoint(loaded)
    assert not [module for module in loaded if module.startswith("diffusers.pipelines.auto")]


def test_a_name_of_its_own_keeps_the_weights(folders: Any) -> None:
    own, renamed = published(weights=folders["nano"]), published(weights=folders["nano"], model_name="x.1")
    assert (renamed.name, renamed.weight_hash) == ("x.1", own.weight_hash)
    assert published(weights=folders["modelscope"], model_name="ms").name == "ms"


def test_sizes_of_the_operators_choice(folders: Any) -> None:
    spec = published(weights=folders["ltx-i2v"], sizes="64x64,96x64")
    assert spec.sizes == ((64, 64), (96, 64))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": "ltx-i2v", "sizes": "70x64"}, r"MICROCINEMA_WEIGHTS .*size 70x64: both sides .* of 32"),
        ({"weights": "nano", "sizes": "64x64"}, r"MICROCINEMA_SIZES '64x64'"),
        ({"weights": "cogvideox", "picture_model": "sd15"}, "no use for a picture model"),
        ({"weights": "sd15"}, "StableDiffusionPipeline is not a video model known here; known are I2VGenXL"),
        ({"weights": "nano", "picture_model": "svd"}, "MICROCINEMA_PICTURE_MODEL .*AutoPipeline"),
        ({"weights": "nothing"}, "MICROCINEMA_WEIGHTS .*missing"),
    ],
)
def test_what_cannot_be_served_is_said_in_the_settings_own_words(
    folders: Any, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    given = {
        name: folders.get(value, tmp_path / value) if name != "sizes" else value
        for name, value in settings.items()
    }
    with pytest.raises(WrongSettings, match=says):
        load(WorkerSettings(device="cpu", **given))


def test_a_folder_whose_name_is_no_models_name(folders: Any, tmp_path: Path) -> None:
    odd = tmp_path / "my model (new)"
    odd.symlink_to(folders["modelscope"])
    assert published(weights=odd).name == "modelscope"  # the folder's own name, not the link's
    (tmp_path / "copy (1)").mkdir()
    for part in folders["modelscope"].iterdir():
        (tmp_path / "copy (1)" / part.name).symlink_to(part)
    with pytest.raises(WrongSettings, match="MICROCINEMA_MODEL_NAME"):
        load(WorkerSettings(device="cpu", weights=tmp_path / "copy (1)"))


@pytest.mark.parametrize("sizes", ["64", "64x", "0x64", "64x64,", "64X64"])
def test_malformed_sizes_are_no_settings(sizes: str) -> None:
    with pytest.raises(ValidationError):
        WorkerSettings(sizes=sizes)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "x" * 65])
def test_malformed_names_are_no_settings(name: str) -> None:
    with pytest.raises(ValidationError):
        WorkerSettings(model_name=name)


# -- a request that no longer fits ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Wish:
    """As much of a VideoRequest as is looked at."""

    width: int = 704
    height: int = 480
    num_frames: int = 97
    num_inference_steps: int = 50
    fps: int = 25
    gamma: float = 0.0
    extends: None = None
    sampler: str = "FlowMatchEulerDiscrete"
    input_picture: Any = None


@dataclasses.dataclass(frozen=True)
class OwnPicture:
    width: int = 704
    height: int = 480


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (Wish(input_picture=OwnPicture()), None),
        (Wish(), "input_reference is missing"),
        (Wish(input_picture=OwnPicture(), gamma=0.02), "gamma 0.02 is outside 0.0..0.0"),
        (Wish(input_picture=OwnPicture(), num_frames=98), "num_frames 98 is not 9 to 257 frames and 1 above"),
    ],
)
def test_the_worker_looks_again(folders: Any, wish: Any, says: str | None) -> None:
    found = misfit(wish, published(weights=folders["ltx-i2v"]))
    assert found is None if says is None else says in found


def test_a_text_to_video_model_refuses_a_picture_even_late(folders: Any) -> None:
    spec = published(weights=folders["modelscope"])
    wish = Wish(256, 256, 16, 50, 8, sampler="DDIM", input_picture=OwnPicture(256, 256))
    assert "takes none" in (misfit(wish, spec) or "")
