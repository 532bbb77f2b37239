"""The four paths of the keyframe: equal at the start, truly different behind it."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from models.appearnet import AppearNet
from models.blocks.fusion import Denormalisation
from models.blocks.inflated import InflatedResBlock
from models.denoiser import VideoDenoiser
from models.evaluation.ablations.paths import PATHS, ConcatenatingUNet, Shift
from models.evaluation.ablations.study import FULL
from models.nano import randomise_silent_paths
from models.spec import NANO
from models.unet import InflatedUNet, is_added, spatial_parameters

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def inflated() -> tuple[InflatedUNet, AppearNet]:
    torch.manual_seed(0)
    main = InflatedUNet(NANO.unet)
    for _, weight in spatial_parameters(main):
        weight.requires_grad_(False)
    return main, AppearNet.copy_of(main).requires_grad_(True)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    draw = torch.Generator().manual_seed(1)
    z, z_c = torch.randn(2, 3, 4, 8, 8, generator=draw), torch.randn(2, 4, 8, 8, generator=draw)
    return z, z_c, torch.tensor([900, 100]), torch.randn(2, 5, NANO.unet.text_width, generator=draw)


def awake(denoiser: VideoDenoiser) -> VideoDenoiser:
    """The same network with every path that starts at zero made audible."""
    torch.manual_seed(2)
    randomise_silent_paths(denoiser, scale=0.2)
    for name, weight in denoiser.named_parameters():
        if name.endswith("condition_in.weight"):
            torch.nn.init.normal_(weight)
    if isinstance(denoiser.main, ConcatenatingUNet):
        own = denoiser.main.spec.latent_channels
        torch.nn.init.normal_(denoiser.main.conv_in.weight[:, own:].detach(), std=0.2)
    return denoiser


@torch.no_grad()
def test_all_paths_start_as_the_network_without_appearance(
    inflated: tuple[InflatedUNet, AppearNet], inputs: Inputs
) -> None:
    z, _, t, text = inputs
    plain = inflated[0](z, t, text)
    for name, compose in PATHS.items():
        torch.testing.assert_close(compose(*inflated)(*inputs), plain, rtol=0, atol=1e-5, msg=name)


@torch.no_grad()
def test_paths_differ_once_they_have_learned_and_only_none_ignores_the_keyframe(
    inflated: tuple[InflatedUNet, AppearNet], inputs: Inputs
) -> None:
    z, z_c, t, text = inputs
    made = {}
    for name, compose in PATHS.items():
        denoiser = awake(compose(*inflated))
        made[name] = denoiser(*inputs)
        moved = (denoiser(z, z_c + 1, t, text) - made[name]).abs().max()
        assert (moved == 0) == (name == "none"), name
    for one, other in combinations(PATHS, 2):
        assert (made[one] - made[other]).abs().max() > 1e-3, (one, other)


def test_parameter_counts_differ_by_exactly_what_a_path_is_made_of(
    inflated: tuple[InflatedUNet, AppearNet],
) -> None:
    main, appearnet = inflated
    counts = {
        name: sum(weight.numel() for weight in compose(main, appearnet).parameters())
        for name, compose in PATHS.items()
    }
    of_main = {name: weight.numel() for name, weight in main.named_parameters()}
    fusion = sum(count for name, count in of_main.items() if "fusion" in name)
    gamma = sum(count for name, count in of_main.items() if "fusion.gamma" in name)
    assert counts["none"] == sum(of_main.values()) - fusion
    assert counts["concatenation"] == counts["none"] + main.conv_in.weight.numel()
    assert counts[FULL] == sum(of_main.values()) + sum(weight.numel() for weight in appearnet.parameters())
    assert gamma > 0
    assert counts["addition"] == counts[FULL] - gamma


def test_what_trains_is_what_inflation_and_the_path_added(inflated: tuple[InflatedUNet, AppearNet]) -> None:
    for name, compose in PATHS.items():
        for key, weight in compose(*inflated).named_parameters():
            own = key.removeprefix("main.")
            spatial = key.startswith("main.") and not is_added(own)
            first = name == "concatenation" and own.startswith("conv_in.")
            assert weight.requires_grad == (not spatial or first), (name, key)


def test_every_trained_weight_of_a_path_moves_within_three_steps(
    inflated: tuple[InflatedUNet, AppearNet], inputs: Inputs
) -> None:
    for name, compose in PATHS.items():
        denoiser = compose(*inflated)
        weights = {key: weight for key, weight in denoiser.named_parameters() if weight.requires_grad}
        before = {key: weight.detach().clone() for key, weight in weights.items()}
        optimizer = torch.optim.SGD(weights.values(), lr=10.0)
        for _ in range(3):
            optimizer.zero_grad()
            loss = (denoiser(*inputs) - inputs[0]).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
            optimizer.step()
        silent = [key for key, weight in weights.items() if torch.equal(weight, before[key])]
        assert not [key for key in silent if "fusion" in key or "conv_in" in key], name


def test_composing_leaves_the_common_start_as_it_was(inflated: tuple[InflatedUNet, AppearNet]) -> None:
    main, appearnet = inflated
    before = [weight.detach().clone() for net in inflated for weight in net.parameters()]
    for compose in PATHS.values():
        awake(compose(main, appearnet))
    after = [weight for net in inflated for weight in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert main.pairs
    assert any(block.fusion is not None for block in main.modules() if isinstance(block, InflatedResBlock))


def test_a_shift_is_the_full_layer_with_a_scale_of_nothing() -> None:
    full = Denormalisation(6, 8)
    torch.nn.init.normal_(full.gamma.weight)
    torch.nn.init.normal_(full.beta.weight)
    embedding = torch.randn(6, 6, 4, 4, generator=torch.Generator().manual_seed(3))
    shift = Shift.of(full)
    gamma, beta = shift(embedding, 3)
    assert not gamma.any()
    assert torch.equal(beta, full(embedding, 3)[1])
    assert "gamma.weight" not in shift.state_dict()


def test_concatenation_without_a_keyframe_is_refused(inflated: tuple[InflatedUNet, AppearNet]) -> None:
    net = ConcatenatingUNet.of(inflated[0])
    with pytest.raises(ValueError, match="embeddings is None"):
        net(torch.zeros(1, 2, 4, 8, 8), torch.tensor([1]), torch.zeros(1, 5, NANO.unet.text_width))
