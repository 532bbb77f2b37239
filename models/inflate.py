"""Make a MicroCinema folder from Stable Diffusion weights: it serves at once, and waits to be trained.

    python -m models.inflate --stable-diffusion FOLDER --spec microcinema-sd21 --out FOLDER
    python -m models.inflate --stable-diffusion FILE.safetensors --spec microcinema-sd21 --out FOLDER \\
        --tokenizer FOLDER --prediction-type epsilon

The new layers are silent, so each frame is the picture that Stable Diffusion makes of its own noise: a video
of unrelated frames. Training (models.training) gives them something to say.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from models.appearnet import AppearNet
from models.errors import BadWeights
from models.picture_configs import read_unet_spec
from models.picture_families import FAMILIES, PictureFamily
from models.spec import UNetSpec
from models.stable_diffusion import PictureNetworks, Prediction, load_file, load_folder
from models.tensors import SHARD_BYTES
from models.unet import InflatedUNet, is_added, spatial_parameters
from models.weights import Parts, save_parts

_FORMATS = {"fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Source:
    """Stable Diffusion weights: a diffusers folder, or a single file and what it does not say."""

    path: Path
    tokenizer: Path | None = None
    prediction: Prediction | None = None

    def load(self, family: PictureFamily, dtype: torch.dtype) -> PictureNetworks:
        """The networks on the CPU; raises BadWeights."""
        cpu = torch.device("cpu")
        if self.path.is_dir():
            for name, value in (("--tokenizer", self.tokenizer), ("--prediction-type", self.prediction)):
                if value is not None:
                    raise BadWeights(f"{self.path} is a folder, which says that itself: leave {name} out")
            return load_folder(self.path, cpu, dtype)
        if not self.path.is_file():
            raise BadWeights(f"{self.path} is neither a folder nor a file")
        if self.tokenizer is None:
            raise BadWeights(
                f"{self.path}: a single file has no tokenizer: name a CLIP tokenizer's folder with "
                f"--tokenizer (the tokenizer/ of any {family.title} folder)"
            )
        return load_file(self.path, family, self.tokenizer, cpu, dtype, self.prediction)


def inflate(unet: UNet2DConditionModel, spec: UNetSpec) -> tuple[InflatedUNet, AppearNet]:
    """A main network around `unet`'s tensors (shared, not copied) and an AppearNet that starts as its copy.

    The main network's spatial weights are frozen, the new layers and AppearNet can be trained. Temporal and
    fusion layers come from torch's global generator. Raises BadWeights if `unet` is of another size.
    """
    theirs = read_unet_spec(unet.config, Path("unet"))
    for name, value in asdict(spec).items():
        said = getattr(theirs, name)
        if said != value:
            raise BadWeights(f"this UNet has {name} {said!r}, the model to be made needs {value!r}")
    main = InflatedUNet(spec)
    added = {name: value for name, value in main.state_dict().items() if is_added(name)}
    main.load_state_dict(unet.state_dict() | added, assign=True)
    for _, weight in spatial_parameters(main):
        weight.requires_grad_(False)
    return main, AppearNet.copy_of(main).requires_grad_(True)


def inflate_to_folder(
    source: Source,
    family: PictureFamily,
    out: Path,
    dtype: torch.dtype,
    *,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[str, tuple[str, ...]]:
    """Write the model to `out`, which must not exist; returns its weight hash and the unused stored names.

    `out` appears whole or not at all. Raises BadWeights.
    """
    if out.exists():
        raise BadWeights(f"{out} exists already; name a folder that does not")
    picture = source.load(family, dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        main, appearnet = inflate(picture.unet, family.cinema.unet)
    description = (
        f"{family.title} inflated to video. Its temporal layers and AppearNet are untrained: every frame is "
        "a picture of its own until it is trained."
    )
    parts = Parts(
        spec=replace(family.cinema, description=description),
        weight_hash="",
        unet=picture.unet,
        main=main,
        appearnet=appearnet,
        vae=picture.vae,
        text_encoder=picture.text_encoder,
        tokenizer=picture.tokenizer,
        schedule=picture.schedule,
    )
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weight_hash = save_parts(partial, parts, dtype, shard_bytes=shard_bytes)
    partial.rename(out)
    return weight_hash, picture.unused


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` None takes the process's own."""
    parser = argparse.ArgumentParser(description="Inflate Stable Diffusion weights to a MicroCinema folder.")
    parser.add_argument(
        "--stable-diffusion", type=Path, required=True, help="diffusers folder or .safetensors"
    )
    parser.add_argument("--spec", choices=sorted(FAMILIES), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--tokenizer", type=Path, help="single files only: a CLIP tokenizer's folder")
    parser.add_argument(
        "--prediction-type", choices=["epsilon", "v_prediction"], help="single files only: what they predict"
    )
    parser.add_argument("--dtype", choices=sorted(_FORMATS), default="fp16")
    parser.add_argument("--seed", type=int, default=0, help="of the new layers")
    chosen = parser.parse_args(argv)
    source = Source(chosen.stable_diffusion, chosen.tokenizer, chosen.prediction_type)
    try:
        weight_hash, unused = inflate_to_folder(
            source, FAMILIES[chosen.spec], chosen.out, _FORMATS[chosen.dtype], seed=chosen.seed
        )
    except BadWeights as error:
        parser.exit(1, f"models.inflate: {error}\n")
    for name in unused:
        sys.stdout.write(f"unused: {name}\n")
    sys.stdout.write(
        f"{chosen.out}: {chosen.spec}, weights {weight_hash}\n"
        "Its temporal layers and AppearNet are untrained: frames do not belong together until you train it.\n"
    )


if __name__ == "__main__":
    main()
