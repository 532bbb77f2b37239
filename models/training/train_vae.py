"""Train the autoencoder on frames of the world.

    python -m models.training.train_vae --config models/training/vae.toml --work var/train

With a [start] folder its decoder trains on, and only that: the latents stay what they are, and with them
everything that was trained on them. The loss weighs pixels that differ from the background: an unweighted
loss reaches a fine average PSNR and loses the objects' colours. Quality is reported overall and on the
object's pixels.
"""

import argparse
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from models.training.captions import Split, combinations
from models.training.config import table
from models.training.loop import Plan, Training
from models.training.warm_start import Start, begun_autoencoder
from models.training.whitening import Whitening
from models.training.world import BACKGROUNDS, place, render_moments


@dataclass(frozen=True)
class VaeShape:
    """Architecture and loss of the autoencoder; the spatial factor is 2 ** (levels - 1)."""

    block_out_channels: tuple[int, ...]
    latent_channels: int
    norm_num_groups: int
    object_weight: float
    kl_weight: float
    whitening: float  # power in [0, 1], see models.training.whitening
    latent_noise: float = 0.0  # the most, in scaled latents, that a decoder begun from a folder sees through


def build_vae(shape: VaeShape) -> AutoencoderKL:
    """A fresh AutoencoderKL for 64 x 64 pictures."""
    levels = len(shape.block_out_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=shape.block_out_channels,
        layers_per_block=1,
        latent_channels=shape.latent_channels,
        norm_num_groups=shape.norm_num_groups,
        sample_size=64,
    )


def frame_batch(count: int, seed: tuple[int, ...], split: Split) -> tuple[Tensor, Tensor]:
    """Random frames (B, 3, 64, 64) in [-1, 1] and the object mask (B, 1, 64, 64) in {0, 1}."""
    rng = np.random.default_rng(seed)
    choices = combinations(split)
    frames, masks = [], []
    for _ in range(count):
        scene = place(choices[int(rng.integers(len(choices)))], rng)
        frame = render_moments(scene, rng.uniform(0, 1, 1).astype(np.float32))[0]
        frames.append(frame)
        masks.append((frame != np.asarray(BACKGROUNDS[scene.background], dtype=np.uint8)).any(axis=-1))
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels, torch.from_numpy(np.stack(masks)).unsqueeze(1).float()


def infidelity(decoded: Tensor, pixels: Tensor, mask: Tensor, object_weight: float) -> Tensor:
    """Weighted L1 + MSE of pictures (B, 3, H, W); mask (B, 1, H, W) is 1 on the object."""
    error = decoded - pixels
    weight = 1 + (object_weight - 1) * mask
    loss: Tensor = (weight * (error.abs() + error.square())).sum() / (3 * weight.sum())
    return loss


def vae_loss(vae: AutoencoderKL, shape: VaeShape, step: int, plan: Plan) -> Tensor:
    """Infidelity, plus a KL that only keeps the latents bounded."""
    pixels, mask = frame_batch(plan.batch, (plan.seed, step), "train")
    posterior = vae.encode(pixels).latent_dist
    noise = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    decoded = vae.decode(posterior.sample(noise)).sample
    return infidelity(decoded, pixels, mask, shape.object_weight) + shape.kl_weight * posterior.kl().mean()


def decoder_loss(vae: AutoencoderKL, shape: VaeShape, step: int, plan: Plan) -> Tensor:
    """Infidelity of what a frozen encoder's latents give, each picture's under noise of its own strength.

    Latents that networks made are never quite right; a decoder that saw only exact ones draws their faults.
    """
    pixels, mask = frame_batch(plan.batch, (plan.seed, step), "train")
    source = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    with torch.no_grad():
        z = vae.encode(pixels).latent_dist.mode()
    most = shape.latent_noise / float(vae.config.scaling_factor)
    strength = most * torch.rand(len(z), 1, 1, 1, generator=source)
    decoded = vae.decode(z + strength * torch.randn(z.shape, generator=source)).sample
    return infidelity(decoded, pixels, mask, shape.object_weight)


def psnr(square_error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error on the [-1, 1] scale (peak 2)."""
    return 10 * math.log10(4 / max(square_error, 1e-12))


@torch.no_grad()
def judge(vae: AutoencoderKL, seed: int, count: int = 128) -> dict[str, float]:
    """PSNR overall and on object pixels, on frames of held-out combinations, served path (mode)."""
    pixels, mask = frame_batch(count, (seed, 2), "held_out")
    decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    square = (decoded - pixels).square()
    return {
        "psnr_overall_db": psnr(float(square.mean())),
        "psnr_object_db": psnr(float((square * mask).sum() / (3 * mask.sum()))),
    }


@torch.no_grad()
def even_out(vae: AutoencoderKL, power: float, seed: int, count: int = 512) -> None:
    """Whiten the latents of training frames and set the factor that gives them unit standard deviation."""
    pixels, _ = frame_batch(count, (seed, 3), "train")
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in torch.split(pixels, 64)])
    whitening = Whitening.of(latents, power)
    whitening.fold_into(vae)
    vae.register_to_config(scaling_factor=1.0 / float(whitening.apply(latents).std()))


@torch.no_grad()
def reconstruction_sheet(vae: AutoencoderKL, path: Path, seed: int) -> None:
    """Originals above reconstructions, held-out frames, four pairs of rows."""
    pixels, _ = frame_batch(32, (seed, 4), "held_out")
    decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    rows = [row for pair in zip(torch.split(pixels, 8), torch.split(decoded, 8), strict=True) for row in pair]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    picture = ((sheet + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture).resize((picture.shape[1] * 2, picture.shape[0] * 2)).save(path)


def train(config: Path, work: Path) -> Path:
    """Train (or go on), then save the folder `work/vae`; returns it. Complete runs return at once."""
    folder = work / "vae"
    if (folder / "judgement.json").exists():
        return folder
    shape, plan = table(config, "vae", VaeShape), table(config, "plan", Plan)
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    begun = begun_autoencoder(table(config, "start", Start))
    vae, loss = (build_vae(shape), vae_loss) if begun is None else (begun, decoder_loss)
    print(f"vae: {sum(p.numel() for p in vae.parameters()):,} parameters", flush=True)
    vae.to(memory_format=torch.channels_last)  # a quarter faster on CPUs
    training = Training("vae", {"vae": vae}, plan, work, time.monotonic)

    def sheet(step: int) -> None:
        reconstruction_sheet(vae, work / "vae_sheet.png", plan.seed)
        print(f"vae at step {step}: {judge(vae, plan.seed)}", flush=True)

    training.run(lambda step: loss(vae, shape, step, plan), sheet)
    training.ema.swap(training.parameters)
    sheet(training.step)
    if begun is None:
        even_out(vae, shape.whitening, plan.seed)
    partial = work / "vae.partial"
    shutil.rmtree(partial, ignore_errors=True)
    vae.save_pretrained(partial)
    verdict = {**judge(vae, plan.seed), "steps": training.step, "minutes": training.minutes}
    (partial / "judgement.json").write_text(json.dumps(verdict, indent=1) + "\n")
    partial.rename(folder)
    return folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the micro autoencoder.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("vae.toml"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    train(options.config, options.work)


if __name__ == "__main__":
    main()
