"""Train stage 1, a small Stable Diffusion, on frames of the training clips.

    python -m models.training.train_text_to_image --work var/train

Captions describe the whole clip, motion included: at inference the same prompt serves both stages.
The text encoder is trained together with the UNet, with a lesson of its own (`caption_reading`).
The result is a standard `StableDiffusionPipeline` folder (averaged weights, float16) at `work/stage1`.
"""

import argparse
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.precision import choose_device
from models.training.ahead import Ahead
from models.training.caption_reading import CaptionReader
from models.training.captions import TRAIN_TEMPLATES, held_out_prompts
from models.training.config import table
from models.training.loop import Plan, Training
from models.training.objective import Objective, weighted_error
from models.training.text_embedding import embed, token_ids
from models.training.tokenizer import save_with_plain_files
from models.training.video_set import VideoSet
from models.training.warm_start import Start, start_stage_one
from models.training.world import Scene


@dataclass(frozen=True)
class StageOneShape:
    """Architecture of the UNet and of its text encoder."""

    block_out_channels: tuple[int, ...]
    attention_heads: int
    norm_num_groups: int
    text_width: int
    text_layers: int
    text_heads: int


def build_text_encoder(shape: StageOneShape, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A fresh CLIP text transformer over the tokenizer's vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.text_width,
            intermediate_size=4 * shape.text_width,
            projection_dim=shape.text_width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=shape.text_heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(shape: StageOneShape, latent_channels: int, latent_size: int) -> UNet2DConditionModel:
    """A fresh two-level UNet with text attention at the finer level and in the middle."""
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=shape.block_out_channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=shape.text_width,
        attention_head_dim=shape.attention_heads,  # diffusers' name for the number of heads
        norm_num_groups=shape.norm_num_groups,
        use_linear_projection=True,
    )


def ddim_scheduler(objective: Objective) -> DDIMScheduler:
    """The scheduler stored with the model: Stable Diffusion's DDIM settings."""
    return DDIMScheduler(
        num_train_timesteps=objective.train_timesteps,
        beta_start=objective.beta_start,
        beta_end=objective.beta_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


@dataclass(frozen=True)
class PictureLesson:
    """One batch, on the CPU: noisy latents, noise (B, C, h, w), steps (B,), tokens (B, L) and their words."""

    noisy: Tensor
    noise: Tensor
    timesteps: Tensor
    ids: Tensor
    captions: list[str]
    scenes: list[Scene]


class StageOne:
    """The models in training, and their loss; on the GPU when there is one."""

    def __init__(self, config: Path, work: Path, videos: VideoSet) -> None:
        shape = table(config, "model", StageOneShape)
        self.objective, self.plan = table(config, "objective", Objective), table(config, "plan", Plan)
        self.videos = videos
        self.vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
        torch.manual_seed(self.plan.seed)
        self.text_encoder = build_text_encoder(shape, self.tokenizer)
        self.unet = build_unet(shape, videos.latents.shape[2], videos.latents.shape[3])
        self.reader = CaptionReader(shape.text_width)
        start_stage_one(table(config, "start", Start), self.unet, self.text_encoder)
        self.device = choose_device()
        for net in (self.vae, self.text_encoder, self.reader):
            net.to(self.device)
        self.unet.to(self.device, memory_format=torch.channels_last)
        self.schedule = self.objective.schedule()
        self.batches = Ahead.beside(self.device, self.batch)

    def loss(self, step: int) -> Tensor:
        """Weighted epsilon error of one batch plus the reading lesson, a function of step and weights."""
        shown, objective, device = self.batches(step), self.objective, self.device
        text = embed(self.text_encoder, shown.ids)
        noisy = shown.noisy.to(device).contiguous(memory_format=torch.channels_last)
        predicted = self.unet(noisy, shown.timesteps.to(device), text).sample
        noise = shown.noise.to(device)
        painting = weighted_error(self.schedule, predicted, noise, shown.timesteps, objective)
        reading = self.reader.loss(text, shown.captions, shown.scenes)
        return painting + objective.reading_weight * reading

    def batch(self, step: int) -> PictureLesson:
        """What is shown at a step, a function of the step alone."""
        objective, batch = self.objective, self.plan.batch
        rng = np.random.default_rng((self.plan.seed, step))
        noise_source = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + step)
        frames = self.videos.latents.shape[1]
        numbers = self.videos.draw(rng, batch, objective.rotating_weight)
        centred = rng.random(batch) < objective.centre_share
        chosen = np.where(centred, frames // 2, rng.integers(frames, size=batch))
        clean = self.videos.frames(numbers, chosen)
        noise = torch.randn(clean.shape, generator=noise_source)
        timesteps = torch.randint(objective.train_timesteps, (batch,), generator=noise_source)
        noisy = self.schedule.noised(clean, noise, timesteps)
        captions = self.videos.captions(numbers, rng, objective.text_dropped)
        ids, scenes = token_ids(self.tokenizer, captions), [self.videos.scenes[number] for number in numbers]
        return PictureLesson(noisy, noise, timesteps, ids, captions, scenes)

    def pipeline(self) -> StableDiffusionPipeline:
        """The models as an ordinary Stable Diffusion pipeline."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=ddim_scheduler(self.objective),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def sample_sheet(pipeline: StableDiffusionPipeline, path: Path, seed: int, guidance: float = 3.0) -> None:
    """24 pictures of held-out prompts, 8 a row, captions beside it in a text file."""
    prompts = [text for text, _ in held_out_prompts(24, seed, TRAIN_TEMPLATES)]
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(
        prompts,
        num_inference_steps=25,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).images
    rows = [np.concatenate(list(pictures[row : row + 8]), axis=1) for row in range(0, 24, 8)]
    sheet = Image.fromarray((np.concatenate(rows) * 255).round().astype(np.uint8))
    sheet.resize((sheet.width * 2, sheet.height * 2)).save(path)
    path.with_suffix(".txt").write_text("\n".join(prompts) + "\n")


def train(config: Path, work: Path) -> Path:
    """Train (or go on), then save `work/stage1`; returns it. Complete runs return at once."""
    folder = work / "stage1"
    if folder.exists():
        return folder
    plan = table(config, "plan", Plan)
    torch.set_num_threads(plan.threads)
    stage = StageOne(config, work, VideoSet.load(config.with_name("video_set.toml"), work))
    modules: dict[str, nn.Module] = {"text_encoder": stage.text_encoder, "unet": stage.unet}
    for name, module in modules.items():
        print(
            f"text_to_image: {name} has {sum(p.numel() for p in module.parameters()):,} parameters",
            flush=True,
        )
    modules["reader"] = stage.reader
    training = Training("text_to_image", modules, plan, work, time.monotonic)
    training.run(
        stage.loss, lambda _: sample_sheet(stage.pipeline(), work / "text_to_image_sheet.png", plan.seed)
    )
    training.ema.swap(training.parameters)
    pipeline = stage.pipeline()
    sample_sheet(pipeline, work / "text_to_image_sheet.png", plan.seed)
    partial = work / "stage1.partial"
    shutil.rmtree(partial, ignore_errors=True)
    stage.unet.half()
    stage.vae.register_to_config(_name_or_path="")  # a path of the training machine says nothing elsewhere
    stage.vae.half()  # the text encoder stays float32: loaders keep its stored type, and it is tiny
    pipeline.save_pretrained(partial, safe_serialization=True)
    save_with_plain_files(stage.tokenizer, partial / "tokenizer")
    partial.rename(folder)
    return folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train stage 1 (text to image).")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("text_to_image.toml"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    train(options.config, options.work)


if __name__ == "__main__":
    main()
