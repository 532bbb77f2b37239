"""The whole chain on a world of eight clips and tiny networks: it ends in a model that loads."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline

from models.cinema import Cinema
from models.training import tokenizer, train_image_to_video, train_text_to_image, train_vae, video_set
from models.training.words import training_vocabulary
from models.weights import read_spec

CONFIGS = Path(train_vae.__file__).parent
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "vae.toml": {"vae": {"block_out_channels": [8, 8, 8, 8], "latent_channels": 4, "norm_num_groups": 4}},
    "video_set.toml": {"clips": {"clips": 8, "threads": 1}},
    "tokenizer.toml": {"tokenizer": {"captions": 500}},
    "text_to_image.toml": {
        "model": {"block_out_channels": [8, 16], "attention_heads": 2, "norm_num_groups": 4, "text_width": 8}
    },
    "image_to_video.toml": {},
}
QUICK = {"minutes": 0.002, "batch": 2, "threads": 1, "log_every_steps": 1}


def small_configs(folder: Path) -> None:
    """The shipped config files with small sizes in their place."""
    for name, changes in SMALL.items():
        tables = tomllib.loads((CONFIGS / name).read_text())
        for table, values in changes.items():
            tables[table] |= values
        if "plan" in tables:
            tables["plan"] |= QUICK
        lines = [
            line
            for table, values in tables.items()
            for line in (f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
        ]
        (folder / name).write_text("\n".join(lines) + "\n")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # diffusers, about half precision on a CPU
def test_chain_ends_in_a_model_that_serving_and_diffusers_load(tmp_path: Path) -> None:
    small_configs(tmp_path)
    train_vae.train(tmp_path / "vae.toml", tmp_path)
    video_set.build(tmp_path / "video_set.toml", tmp_path)
    tokenizer.build(tmp_path / "tokenizer.toml", tmp_path)
    train_text_to_image.train(tmp_path / "text_to_image.toml", tmp_path)
    folder = train_image_to_video.train(tmp_path / "image_to_video.toml", tmp_path)

    written = (folder / "manifest.json").stat().st_mtime_ns
    assert train_image_to_video.train(tmp_path / "image_to_video.toml", tmp_path) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written  # complete: skipped

    for curve in ("vae", "text_to_image", "image_to_video"):
        minutes, step, loss = (tmp_path / f"{curve}_loss.txt").read_text().splitlines()[0].split()
        assert float(minutes) > 0
        assert int(step) == 1
        assert float(loss) > 0

    for config in folder.rglob("config.json"):
        assert str(tmp_path) not in config.read_text(), config

    film = Cinema.load(folder, device="cpu")(
        "a red circle moving left on a white background", seed=1, steps=2
    )
    assert film.frames.shape == (16, 64, 64, 3)
    assert read_spec(folder).vocabulary == training_vocabulary()
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a red circle", num_inference_steps=2).images[0].size == (64, 64)
