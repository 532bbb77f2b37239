"""What lets a GPU train without waiting for the CPU, and what both devices must agree on."""

import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.errors import BadWeights
from models.nano import write_nano
from models.noise_prior import with_appearance
from models.schedule import Schedule
from models.training import adopt, chain
from models.training.ahead import Ahead
from models.training.first_step import Example, FirstStep

GPU_CONFIGS = Path(chain.__file__).parent / "gpu"


def squared(step: int) -> int:
    return step * step


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_batches_are_those_of_their_steps_at_any_depth_and_after_any_jump(depth: int) -> None:
    ahead = Ahead(squared, depth)
    assert [ahead(step) for step in (0, 1, 2, 3, 40, 41, 7)] == [0, 1, 4, 9, 1600, 1681, 49]


def test_the_next_batches_are_under_way_when_one_is_asked_for() -> None:
    begun = {step: threading.Event() for step in range(8)}

    def watched(step: int) -> int:
        begun[step].set()
        return step

    ahead = Ahead(watched, 4)
    assert ahead(0) == 0
    for step in (1, 2, 3):
        assert begun[step].wait(10), step
    assert not begun[4].is_set()


def test_nothing_is_made_before_it_is_asked_for_where_the_cpu_trains() -> None:
    made: list[int] = []
    ahead = Ahead.beside(torch.device("cpu"), made.append)
    ahead(3)
    assert made == [3]


def test_an_error_comes_out_where_its_batch_is_asked_for() -> None:
    def failing(step: int) -> int:
        if step == 2:
            raise ValueError("clip 2 is broken")
        return step

    ahead = Ahead(failing, 4)
    assert [ahead(0), ahead(1)] == [0, 1]
    with pytest.raises(ValueError, match="clip 2"):
        ahead(2)


def test_a_model_lends_its_autoencoder_and_tokenizer_in_float32(tmp_path: Path) -> None:
    model, work = tmp_path / "model", tmp_path / "work"
    write_nano(model, seed=5)
    adopt.adopt(model, work)
    lent = load_file(model / "vae" / "diffusion_pytorch_model.safetensors")
    kept = load_file(work / "vae" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float32}
    assert all(torch.equal(kept[name], value.float()) for name, value in lent.items())
    lent_files = {path.name: path.read_bytes() for path in (model / "tokenizer").iterdir()}
    assert lent_files == {path.name: path.read_bytes() for path in (work / "tokenizer").iterdir()}
    (work / "vae" / "mine").touch()
    adopt.adopt(model, work)
    assert (work / "vae" / "mine").exists()  # a complete copy is left alone


def test_weights_that_are_not_those_of_the_manifest_are_not_adopted(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_nano(model, seed=5)
    with (model / "vae" / "diffusion_pytorch_model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadWeights):
        adopt.adopt(model, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_the_chain_for_a_gpu_changes_only_how_much_is_trained() -> None:
    for name in ("text_to_image.toml", "image_to_video.toml"):
        ours, theirs = (
            tomllib.loads((folder / name).read_text()) for folder in (GPU_CONFIGS.parent, GPU_CONFIGS)
        )
        differing = {key for key in theirs["objective"] if theirs["objective"][key] != ours["objective"][key]}
        assert differing <= {"contrary_share"}, name
        assert theirs.get("model") == ours.get("model")
    listed = tomllib.loads((GPU_CONFIGS / "chain.toml").read_text())["chain"]
    assert all((GPU_CONFIGS / config).is_file() for config in listed["configs"])


def test_gamma_of_the_first_step_covers_its_whole_range_evenly() -> None:
    schedule = Schedule(0.00085, 0.012, 1000)
    rows = 400
    noise, clean = torch.zeros(rows, 2, 1, 1, 1), torch.zeros(rows, 2, 1, 1, 1)
    z_c = torch.ones(rows, 1, 1, 1)
    ordinary = Example(noise, torch.zeros(rows, dtype=torch.long), noise)
    lesson = FirstStep(share=1.0, gamma=0.01, most=0.05)
    mixed = lesson.mixed(schedule, clean, z_c, noise, ordinary, torch.Generator().manual_seed(4))
    gammas = mixed.z[:, 0].flatten().numpy()
    assert np.array_equal(gammas, mixed.z[:, 1].flatten().numpy())  # one gamma a clip
    counts, _ = np.histogram(gammas, bins=4, range=(0.01, 0.05))
    assert counts.sum() == rows
    assert counts.min() > rows / 8
    alone = FirstStep(share=1.0, gamma=0.01).mixed(
        schedule, clean, z_c, noise, ordinary, torch.Generator().manual_seed(4)
    )
    torch.testing.assert_close(alone.z, with_appearance(noise, z_c, 0.01))
