"""Four ways for the keyframe into the main network, made of the shipped network's own parts.

Each takes the freshly inflated main network and its AppearNet, leaves both as they are, and gives a
denoiser that computes the same at first: at the start the keyframe is silent in all of them.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.appearnet import AppearNet
from models.blocks.fusion import Denormalisation
from models.blocks.inflated import InflatedLevel, InflatedResBlock
from models.blocks.temporal import to_time
from models.denoiser import VideoDenoiser
from models.evaluation.ablations.study import FULL
from models.unet import InflatedUNet

KEYFRAME = "keyframe"


class Shift(Denormalisation):
    """De-normalisation that has lost its scale: h + beta, at the same place, from the same projector."""

    @classmethod
    def of(cls, full: Denormalisation) -> "Shift":
        """The same layer without gamma, weights included."""
        shift = cls(full.projector.in_channels, full.projector.out_channels)
        shift.load_state_dict(
            {name: value for name, value in full.state_dict().items() if "gamma" not in name}
        )
        return shift

    def __init__(self, appearance_channels: int, width: int) -> None:
        super().__init__(appearance_channels, width)
        del self.gamma

    def forward(self, embedding: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """((B F), Ca, H, W) -> a gamma of 0 and beta (B, C, F, N)."""
        beta = to_time(self.beta(F.silu(self.projector(embedding))), frames)
        return beta.new_zeros(()), beta


class Silence(nn.Module):
    """Nothing of the keyframe, in AppearNet's place."""

    def forward(self, z: Tensor, z_c: Tensor, t: Tensor, text: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """No embedding at all."""
        return {}


class KeyframeItself(nn.Module):
    """The keyframe's latent as it is, in AppearNet's place."""

    def forward(self, z: Tensor, z_c: Tensor, t: Tensor, text: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """z_c (B, C, H, W) under the name that ConcatenatingUNet looks for."""
        return {KEYFRAME: z_c}


class ConcatenatingUNet(InflatedUNet):
    """Main network whose first convolution reads [z_t, z^c], channel by channel, in every frame.

    The weights over z^c start at zero. The whole first convolution trains: half a frozen layer is not
    what anybody means by concatenation.
    """

    @classmethod
    def of(cls, main: InflatedUNet) -> "ConcatenatingUNet":
        """A network that computes what `main` does without appearance."""
        net = cls(main.spec)
        net.load_state_dict(main.state_dict())
        for weight, model in zip(net.parameters(), main.parameters(), strict=True):
            weight.requires_grad_(model.requires_grad)
        cut_appearance(net)
        own = net.conv_in
        wide = nn.Conv2d(2 * own.in_channels, own.out_channels, own.kernel_size, padding=own.padding)  # type: ignore[arg-type]
        wide.load_state_dict(
            {"weight": torch.cat([own.weight, torch.zeros_like(own.weight)], dim=1), "bias": own.bias}
        )
        net.conv_in = wide
        return net

    def forward(
        self, z: Tensor, t: Tensor, text: Tensor, embeddings: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """As InflatedUNet's; `embeddings` holds z^c (B, C, H, W)."""
        if embeddings is None:
            raise ValueError("embeddings is None; this network needs the keyframe's latent in it")
        z_c = embeddings[KEYFRAME][:, None].expand_as(z)
        return super().forward(torch.cat([z, z_c], dim=2), t, text)


def cut_appearance(main: InflatedUNet) -> None:
    """Take every layer out that waits for an embedding."""
    main.pairs = {}
    for module in main.modules():
        if isinstance(module, InflatedResBlock):
            module.fusion = None
        elif isinstance(module, InflatedLevel):
            module.fusion_attentions = nn.ModuleList()


def without_keyframe(main: InflatedUNet, appearnet: AppearNet) -> VideoDenoiser:  # noqa: ARG001
    """The text and the noise prior alone."""
    alone = deepcopy(main)
    cut_appearance(alone)
    return VideoDenoiser(alone, Silence())


def concatenated(main: InflatedUNet, appearnet: AppearNet) -> VideoDenoiser:  # noqa: ARG001
    """No AppearNet; z^c beside z_t at the first convolution."""
    return VideoDenoiser(ConcatenatingUNet.of(main), KeyframeItself())


def added(main: InflatedUNet, appearnet: AppearNet) -> VideoDenoiser:
    """AppearNet as shipped; ResBlocks take a shift where the shipped ones take scale and shift."""
    shifted = deepcopy(main)
    for module in shifted.modules():
        if isinstance(module, InflatedResBlock) and module.fusion is not None:
            module.fusion = Shift.of(module.fusion)
    return VideoDenoiser(shifted, deepcopy(appearnet))


def denormalised(main: InflatedUNet, appearnet: AppearNet) -> VideoDenoiser:
    """The shipped network: additive in attention blocks, de-normalisation in ResBlocks."""
    return VideoDenoiser(deepcopy(main), deepcopy(appearnet))


PATHS: dict[str, Callable[[InflatedUNet, AppearNet], VideoDenoiser]] = {
    "none": without_keyframe,
    "concatenation": concatenated,
    "addition": added,
    FULL: denormalised,
}
