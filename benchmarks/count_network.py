"""Count parameters and FLOPs of the SD-2.1-size network on the meta device: no memory, no GPU.

python -m benchmarks.count_network            # prints the tables of docs/benchmarks.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.appearnet import AppearNet
from models.nano import flat_unet
from models.spec import MICRO, SD21, CinemaSpec
from models.unet import InflatedUNet, is_added

TEXT_TOKENS = 77


@dataclass(frozen=True)
class Parameters:
    """In single weights."""

    spatial: int
    temporal_convs: int
    temporal_attention: int
    fusion: int
    appearnet: int


def parameters(spec: CinemaSpec) -> Parameters:
    with torch.device("meta"):
        main, appearnet = InflatedUNet(spec.unet), AppearNet(spec.unet)

    def total(wanted: str) -> int:
        return sum(w.numel() for n, w in main.named_parameters() if wanted in n)

    return Parameters(
        spatial=sum(w.numel() for n, w in main.named_parameters() if not is_added(n)),
        temporal_convs=total("temporal1.") + total("temporal2."),
        temporal_attention=total("temporal_attentions."),
        fusion=total("fusion"),
        appearnet=sum(w.numel() for w in appearnet.parameters()),
    )


@dataclass(frozen=True)
class Flops:
    """Of one forward pass of one sample without guidance; a multiply-add is 2."""

    flat: int  # the 2D UNet on as many pictures
    main: int  # inflated, without appearance
    fusion: int
    appearnet: int


def flops(spec: CinemaSpec, frames: int, side: int) -> Flops:
    u = spec.unet
    with torch.device("meta"):
        main, appearnet, flat = InflatedUNet(u), AppearNet(u), flat_unet(u)
        z = torch.empty(1, frames, u.latent_channels, side, side)
        t, text = torch.zeros(1), torch.empty(1, TEXT_TOKENS, u.text_width)
        embeddings: dict[str, torch.Tensor] = {}

        def appear() -> None:
            embeddings.update(appearnet(z, z[:, 0], t, text))

        alone = _counted(lambda: main(z, t, text))
        appearnet_flops = _counted(appear)
        together = _counted(lambda: main(z, t, text, embeddings))
        pictures = _counted(lambda: flat(z[0], t, text.expand(frames, -1, -1)))
    return Flops(pictures, alone, together - alone, appearnet_flops)


def _counted(run: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


COUNTED = ((MICRO, 8), (SD21, 32), (SD21, 40), (SD21, 56), (SD21, 64))
"""Models and sides in latent cells."""


def tables(counted: Sequence[tuple[CinemaSpec, int]] = COUNTED) -> Iterator[str]:
    """The Markdown tables, line by line; of the second one only the rows asked for."""
    yield ("| model | spatial M | temporal convs M | temporal attention M | fusion M | AppearNet M | sum M |")
    yield "|---|---|---|---|---|---|---|"
    for spec in (MICRO, SD21):
        p = parameters(spec)
        counts = (p.spatial, p.temporal_convs, p.temporal_attention, p.fusion, p.appearnet)
        cells = " | ".join(f"{n / 1e6:.2f}" for n in (*counts, sum(counts)))
        yield f"| {spec.name} | {cells} |"
    yield ""
    yield ("| model | pixels | frames | 2D UNet TFLOP | main TFLOP | fusion | AppearNet | per step |")
    yield "|---|---|---|---|---|---|---|---|"
    for spec, side in counted:
        f = flops(spec, 16, side)
        whole = f.main + f.fusion + f.appearnet
        yield (
            f"| {spec.name} | {side * spec.vae_factor} | 16 | {f.flat / 1e12:.4g} | {f.main / 1e12:.4g} "
            f"| +{100 * f.fusion / f.main:.1f} % | +{100 * f.appearnet / f.main:.1f} % | {whole / 1e12:.4g} |"
        )


if __name__ == "__main__":
    print("\n".join(tables()))
