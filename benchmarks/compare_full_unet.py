"""Is the inflated network, at full size and one frame, the 2D UNet of Stable Diffusion?

    python -m benchmarks.compare_full_unet --spec microcinema-sd21

Writes a UNet of the real architecture with random weights to a temporary folder (3.5 GB), reads it back
strictly, inflates it, and compares one frame's output with diffusers' class: float32, on the CPU. Needs
about 15 GB of memory and a few minutes of one core, so it is no test; tests/golden/test_stable_diffusion.py
does the same at a fraction of the width.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel

from models.inflate import inflate
from models.picture_configs import unet_config
from models.picture_families import FAMILIES
from models.spec import UNetSpec
from models.tensors import StoredTensors, assign, read_state, write_tensors

LIMIT = 1e-4
TOKENS = 77


def difference(spec: UNetSpec, side: int) -> tuple[float, float]:
    """(largest absolute difference, standard deviation of the 2D output) at `side` x `side` latents."""
    torch.manual_seed(0)
    flat = UNet2DConditionModel(**unet_config(spec)).eval()
    z = torch.randn(1, spec.latent_channels, side, side)
    t, text = torch.tensor([501]), torch.randn(1, TOKENS, spec.text_width)
    with torch.no_grad():
        expected = flat(z, t, text).sample
        with tempfile.TemporaryDirectory() as place:
            write_tensors(Path(place), flat.state_dict(), torch.float32)
            del flat
            with init_empty_weights():
                unet = UNet2DConditionModel(**unet_config(spec))
            stored = StoredTensors.of_component(Path(place))
            state, used = read_state(unet.state_dict(), stored, torch.device("cpu"), torch.float32)
            assert used == set(stored)
        assign(unet, state)
        main, appearnet = inflate(unet, spec)
        clip = z[:, None]
        video = main(clip, t, text, appearnet(clip, z.flip(-1), t, text))
    return float((video[:, 0] - expected).abs().max()), float(expected.std())


def main() -> int:
    """Command line; exit code 1 when the difference is over the limit."""
    parser = argparse.ArgumentParser(description="Compare the inflated network with the 2D UNet.")
    parser.add_argument("--spec", choices=sorted(FAMILIES), required=True)
    parser.add_argument("--side", type=int, default=32, help="of the latent; 64 is 512 pixels")
    chosen = parser.parse_args()
    found, spread = difference(FAMILIES[chosen.spec].cinema.unet, chosen.side)
    print(
        f"{chosen.spec}, latent {chosen.side}x{chosen.side}, 1 frame, fp32: largest difference {found:.2e} "
        f"(limit {LIMIT:g}) of an output with standard deviation {spread:.3f}"
    )
    return int(found > LIMIT or not spread > 0.01)


if __name__ == "__main__":
    sys.exit(main())
