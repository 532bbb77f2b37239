"""At initialisation the video network is the picture network; after training every part takes part."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.appearnet import AppearNet
from models.denoiser import VideoDenoiser
from models.nano import flat_unet
from models.spec import NANO, SPECS, UNetSpec
from models.unet import InflatedUNet, is_added, spatial_parameters

Networks = tuple[InflatedUNet, AppearNet]

WIDE = UNetSpec(
    latent_channels=4,
    latent_size=16,
    channels=(8, 16, 16),
    attention=(True, True, False),
    heads=(1, 2, 2),
    layers=2,
    text_width=16,
    norm_groups=4,
)


@pytest.mark.parametrize("shape", [NANO.unet, replace(NANO.unet, linear_projection=False), WIDE])
@pytest.mark.parametrize("side", [8, 10])
def test_inflated_network_is_the_2d_unet_frame_by_frame(shape: UNetSpec, side: int) -> None:
    torch.manual_seed(3)
    flat = flat_unet(shape).eval()
    main = InflatedUNet(shape).eval()
    result = main.load_state_dict(flat.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert all(is_added(key) for key in result.missing_keys)
    z = torch.randn(2, 5, shape.latent_channels, side, side)
    t, text = torch.tensor([3, 977]), torch.randn(2, 7, shape.text_width)
    with torch.no_grad():
        video = main(z, t, text)
        frames = torch.stack([flat(z[:, f], t, text).sample for f in range(5)], dim=1)
    assert torch.allclose(video, frames, atol=1e-5, rtol=0)
    assert float(frames.std()) > 0.01  # equal because both are right, not because both are silent


@pytest.mark.parametrize("name", sorted(SPECS))
def test_spatial_parameters_are_exactly_the_2d_unets(name: str) -> None:
    with torch.device("meta"):
        flat = flat_unet(SPECS[name].unet)
        main = InflatedUNet(SPECS[name].unet)
    assert {n: w.shape for n, w in spatial_parameters(main)} == {
        n: w.shape for n, w in flat.named_parameters()
    }
    assert sum(w.numel() for _, w in spatial_parameters(main)) == flat.num_parameters()


def test_at_initialisation_the_keyframe_changes_nothing(at_start: Networks, clip) -> None:
    main, appearnet = at_start
    with torch.no_grad():
        plain = main(clip.z, clip.t, clip.text)
        for z_c in (clip.z_c, 5 * clip.z_c.flip(0)):
            taken = main(clip.z, clip.t, clip.text, appearnet(clip.z, z_c, clip.t, clip.text))
            assert torch.equal(taken, plain)


def test_trained_network_sees_keyframe_order_and_the_prompt_of_appearnet(trained: Networks, clip) -> None:
    main, appearnet = trained

    def output(z=clip.z, z_c=clip.z_c, words=clip.text) -> torch.Tensor:
        return main(z, clip.t, clip.text, appearnet(z, z_c, clip.t, words))

    plain = output()
    assert (output(z_c=clip.z_c.flip(0)) - plain).abs().max() > 1e-3
    assert (output(words=clip.text.flip(0)) - plain).abs().max() > 1e-4
    order = [1, 0, 2, 3, 4]
    assert (output(z=clip.z[:, order]) - plain[:, order]).abs().max() > 1e-3


def test_without_appearance_the_trained_network_still_knows_frame_order(trained: Networks, clip) -> None:
    main, _ = trained
    reversed_back = main(clip.z.flip(1), clip.t, clip.text).flip(1)
    assert (reversed_back - main(clip.z, clip.t, clip.text)).abs().max() > 1e-3


def test_five_steps_move_every_appearnet_fusion_and_temporal_weight(at_start: Networks, clip) -> None:
    main, appearnet = at_start
    for name, weight in main.named_parameters():
        weight.requires_grad_(is_added(name))
    moving = [w for w in [*main.parameters(), *appearnet.parameters()] if w.requires_grad]
    before = {n: w.clone() for net in at_start for n, w in _named(net)}
    frozen = {n: w.clone() for n, w in spatial_parameters(main)}
    optimiser = torch.optim.Adam(moving, lr=1e-3)
    target = torch.randn(clip.z.shape, generator=torch.Generator().manual_seed(5))
    for _ in range(5):
        optimiser.zero_grad()
        eps = main(clip.z, clip.t, clip.text, appearnet(clip.z, clip.z_c, clip.t, clip.text))
        (eps - target).square().mean().backward()
        optimiser.step()
    still = [n for net in at_start for n, w in _named(net) if w.requires_grad and torch.equal(w, before[n])]
    assert not still
    assert all(torch.equal(w, frozen[n]) for n, w in spatial_parameters(main))


def test_denoiser_refuses_latents_that_lost_precision(trained: Networks, clip) -> None:
    denoiser = VideoDenoiser(*trained)
    with pytest.raises(TypeError, match=r"float32 outside the networks, got torch\.float16"):
        denoiser(clip.z.half(), clip.z_c, clip.t, clip.text)
    assert denoiser(clip.z, clip.z_c, clip.t, clip.text).dtype is torch.float32


def _named(net: torch.nn.Module):
    return ((f"{type(net).__name__}.{n}", w) for n, w in net.named_parameters())
