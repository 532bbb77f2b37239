"""Whitened latents are even and show the same pictures; warm starts take every weight."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from models.appearnet import AppearNet
from models.nano import write_nano
from models.spec import NANO
from models.training.train_vae import VaeShape, build_vae, even_out
from models.training.warm_start import Start, start_stage_one, start_stage_two
from models.training.whitening import Whitening
from models.unet import InflatedUNet

SHAPE = VaeShape((8, 8, 8), 4, 4, object_weight=9.0, kl_weight=1e-6, whitening=1.0)


def uneven(count: int = 400) -> torch.Tensor:
    """Latents (N, 4, 2, 2) whose directions differ a hundredfold in strength, and are mixed."""
    source = torch.Generator().manual_seed(3)
    mixing = torch.linalg.qr(torch.randn(4, 4, generator=source)).Q @ torch.diag(
        torch.tensor([5, 1, 0.2, 0.05])
    )
    return torch.einsum("ij,njhw->nihw", mixing, torch.randn(count, 4, 2, 2, generator=source)) + 3


def strengths(latents: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigvalsh(torch.cov(latents.movedim(1, -1).flatten(0, -2).T)).clamp(min=0).sqrt()


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_every_direction_gets_its_power_of_the_strength(power: float) -> None:
    latents = uneven()
    white = Whitening.of(latents, power).apply(latents)
    assert torch.allclose(strengths(white), strengths(latents) ** (1 - power), rtol=2e-3)
    assert white.mean(dim=(0, 2, 3)).abs().max() < 1e-4


def test_power_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"power is 1\.5"):
        Whitening.of(uneven(), 1.5)


def test_folded_into_the_autoencoder_no_picture_changes() -> None:
    torch.manual_seed(0)
    vae = build_vae(SHAPE).eval()
    pixels = torch.rand(4, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        even_out(vae, SHAPE.whitening, seed=5, count=64)
        after = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    assert torch.allclose(after, before, atol=2e-3)
    assert vae.config.scaling_factor == pytest.approx(1.0, rel=0.05)  # white latents have unit strength


def test_warm_start_takes_every_weight(tmp_path: Path) -> None:
    write_nano(tmp_path / "old", seed=1)
    write_nano(tmp_path / "new", seed=2)
    start = Start(str(tmp_path / "old"))
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "new" / "unet")
    text = CLIPTextModel.from_pretrained(tmp_path / "new" / "text_encoder")
    start_stage_one(start, unet, text)
    old = UNet2DConditionModel.from_pretrained(tmp_path / "old" / "unet").state_dict()
    assert all(torch.equal(value, old[name]) for name, value in unet.state_dict().items())
    main, appearnet = InflatedUNet(NANO.unet), AppearNet(NANO.unet)
    before = {name: value.clone() for name, value in main.state_dict().items()}
    start_stage_two(start, main, appearnet)
    moved = {name for name, value in main.state_dict().items() if not torch.equal(value, before[name])}
    assert any("temporal" in name for name in moved)
    assert not any(name.startswith("conv_in") for name in moved)
    assert appearnet.condition_in.weight.abs().max() > 0


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    assert Start().path is None
    with pytest.raises(FileNotFoundError, match=r"there is no model_index\.json in it"):
        Start(str(tmp_path)).path  # noqa: B018
