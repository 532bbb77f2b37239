"""The pairing table of ADR 0006, printed (`pytest -s`) and held against the networks it wires."""

from __future__ import annotations

from dataclasses import replace

import torch

from models.appearnet import AppearNet
from models.blocks.fusion import AdditiveFusion, Denormalisation
from models.pairing import MIDDLE, pairing, source_channels
from models.spec import NANO, SD21, SPECS
from models.unet import InflatedUNet


def test_pairing_table_of_stable_diffusion_2_1() -> None:
    pairs = pairing(SD21.unet)
    print("\nmain network block        <- AppearNet block")
    for target, source in pairs.items():
        print(f"{target:<25} <- {source}")
    assert pairs["down.3.resnet.1"] == MIDDLE  # deepest encoder ResBlock
    assert pairs["up.0.resnet.0"] == MIDDLE  # first decoder ResBlock
    assert [t for t, s in pairs.items() if s == MIDDLE] == ["down.3.resnet.1", "up.0.resnet.0"]
    assert pairs["down.0.resnet.0"] == "down.0.resnet.0"  # shallowest with first encoder block ...
    assert pairs["up.3.resnet.2"] == "down.0.resnet.0"  # ... and last decoder block
    assert pairs["up.1.attention.0"] == "down.2.attention.1"
    assert pairs["up.1.resnet.2"] == "down.2.resnet.0"  # a downsample skip: the level's first block again
    # encoder 8 ResBlocks + 6 attentions, decoder 12 + 9, the middle gets nothing
    assert len(pairs) == 35


def test_every_source_has_the_resolution_and_width_of_its_target() -> None:
    spec = NANO.unet
    appearnet = AppearNet(spec)
    z = torch.randn(1, 2, spec.latent_channels, 8, 8)
    t, text = torch.tensor([5]), torch.randn(1, 3, spec.text_width)
    with torch.no_grad():
        embeddings = appearnet(z, z[:, 0], t, text)
    for target, source in pairing(spec).items():
        kind, level, *_ = target.split(".")
        depth = int(level) if kind == "down" else spec.levels - 1 - int(level)
        assert embeddings[source].shape == (2, source_channels(spec, source), 8 >> depth, 8 >> depth), target


def test_exactly_the_paired_blocks_have_fusion_layers() -> None:
    for spec in (NANO.unet, replace(NANO.unet, layers=2)):
        built = {name for name, part in InflatedUNet(spec).named_modules() if is_fusion(part)}
        expected = set()
        for target in pairing(spec):
            kind, level, sort, layer = target.split(".")
            place = f"{kind}_blocks.{level}"
            resnet = sort == "resnet"
            expected.add(
                f"{place}.resnets.{layer}.fusion" if resnet else f"{place}.fusion_attentions.{layer}"
            )
        assert built == expected
        assert not any(is_fusion(part) for part in AppearNet(spec).modules())


def is_fusion(part: torch.nn.Module) -> bool:
    return isinstance(part, Denormalisation | AdditiveFusion)


def test_no_appearnet_block_is_left_without_a_listener() -> None:
    for spec in SPECS.values():
        pairs = pairing(spec.unet)
        sources = set(pairs.values())
        for level in range(spec.unet.levels):
            for layer in range(spec.unet.layers):
                name = f"down.{level}.resnet.{layer}"
                # the deepest ResBlock's own embedding goes to the decoder; the encoder hears the middle
                assert name in sources or (level, layer) == (spec.unet.levels - 1, spec.unet.layers - 1)
