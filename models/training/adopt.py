"""Put a finished model's autoencoder and tokenizer into a work folder, to train both stages on them.

    python -m models.training.adopt --config models/training/gpu/adopt.toml --work var/gpu

Latents stay what they were, so an earlier generation's stages can be trained on.
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.manifest import check_manifest
from models.training.config import table
from models.training.warm_start import Start

ADOPTED = ("vae", "tokenizer")


def adopt(model: Path, work: Path) -> str:
    """Copy both; returns the model's weight hash. Complete copies are left as they are.

    Raises BadWeights when `model` is no model folder or its files are not those of its manifest.
    """
    weight_hash = check_manifest(model)
    for name in ADOPTED:
        copy_whole(model / name, work / name)
    return weight_hash


def copy_whole(source: Path, place: Path) -> None:
    """Copy a component's folder, whole or not at all; weights become float32, which training computes in."""
    if place.exists():
        return
    partial = place.with_name(place.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    for path in source.glob("*.safetensors"):
        stored = {name: value.to(torch.float32) for name, value in load_file(path).items()}
        save_file(stored, partial / path.name, {"format": "pt"})  # transformers refuses a file without it
    partial.rename(place)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Begin a training with a finished model's autoencoder.")
    parser.add_argument("--config", type=Path, required=True, help="its [start] table names the model")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    folder = table(options.config, "start", Start).path
    if folder is None:
        raise SystemExit("adopt: start.folder is empty; it must name a model folder")
    print(f"adopt: autoencoder and tokenizer of {adopt(folder, options.work)[:12]}", flush=True)


if __name__ == "__main__":
    main()
