"""Begin a training from an earlier generation's weights instead of from nothing."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from models.appearnet import AppearNet
from models.unet import InflatedUNet
from models.weights import read_stage_two


@dataclass(frozen=True)
class Start:
    """A model folder (`models.weights`), absolute or from the working directory; empty: from nothing."""

    folder: str = ""

    @property
    def path(self) -> Path | None:
        """Raises FileNotFoundError when a folder is named that is no model."""
        if not self.folder:
            return None
        path = Path(self.folder)
        if not (path / "model_index.json").is_file():
            raise FileNotFoundError(f"start.folder is {self.folder!r}: there is no model_index.json in it")
        return path


def begun_autoencoder(start: Start) -> AutoencoderKL | None:
    """The folder's autoencoder in float32; only its decoder trains, so that latents stay what they are."""
    if start.path is None:
        return None
    vae: AutoencoderKL = AutoencoderKL.from_pretrained(start.path / "vae").float()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    return vae


def start_stage_one(start: Start, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
    """Give both networks the folder's weights; every key and shape must fit."""
    if start.path is None:
        return
    for network, name in ((unet, "unet"), (text_encoder, "text_encoder")):
        stored = type(network).from_pretrained(start.path / name).float().state_dict()
        network.load_state_dict(stored)


def start_stage_two(start: Start, main: InflatedUNet, appearnet: AppearNet) -> None:
    """Give the main network's temporal and fusion layers and AppearNet the folder's weights."""
    if start.path is None:
        return
    added, own = read_stage_two(start.path, main, appearnet, torch.device("cpu"), torch.float32)
    main.load_state_dict(added, strict=False)
    appearnet.load_state_dict(own)
