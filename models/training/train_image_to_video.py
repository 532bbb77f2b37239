"""Train stage 2 on the stored clips: inflate stage 1, then teach it time and appearance.

    python -m models.training.train_image_to_video --work var/train

The main network's spatial weights are stage 1's and frozen; its temporal and fusion layers and the whole
AppearNet train. Noise and target are the composite of the Appearance Noise Prior. The result is a complete
model folder (`models.weights`) at `work/model`.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from models.appearnet import AppearNet
from models.denoiser import VideoDenoiser
from models.image_to_video import ImageToVideo
from models.inflate import inflate
from models.orders import PictureOrder, VideoOrder
from models.picture_configs import read_unet_spec
from models.precision import choose_device
from models.spec import MICRO, CinemaSpec
from models.stepwise import result_of
from models.text import TextEncoder
from models.text_to_image import TextToImage
from models.training.ahead import Ahead
from models.training.captions import TRAIN_TEMPLATES, held_out_prompts
from models.training.config import table
from models.training.loop import Plan, Training, write_atomically
from models.training.objective import Objective
from models.training.stage_two_loss import Lesson, StageTwoLoss
from models.training.text_embedding import embed, token_ids
from models.training.video_set import VideoSet
from models.training.warm_start import Start, start_stage_two
from models.training.words import training_vocabulary
from models.unet import InflatedUNet
from models.vae import Picture, PictureCodec
from models.weights import save_stage_two


def redrawn_keyframes(videos: VideoSet, codec: PictureCodec, work: Path) -> Tensor:
    """Centre-frame latents (N, C, h, w) after one decode and encode, as at serving; computed once."""
    path = work / "keyframes.npy"
    if not path.exists():
        centre = torch.from_numpy(
            np.ascontiguousarray(videos.latents[:, videos.latents.shape[1] // 2])
        ).float()
        parts = torch.split(centre.to(codec.device), 50)
        again = [codec.encode(list(codec.decode_clip(part, len(part)))).half().cpu() for part in parts]
        write_atomically(path, lambda partial: save_array(partial, torch.cat(again)))
    return torch.from_numpy(np.load(path)).float()


def save_array(path: Path, values: Tensor) -> None:
    """np.save to exactly this name."""
    with path.open("wb") as file:
        np.save(file, values.numpy())


class StageTwo:
    """The networks in training, and their loss; `compose` joins the two halves to one denoiser.

    On the GPU when there is one: everything random is drawn on the CPU, so both learn from the same batches.
    """

    def __init__(
        self,
        objective: Objective,
        plan: Plan,
        work: Path,
        videos: VideoSet,
        compose: Callable[[InflatedUNet, AppearNet], VideoDenoiser] = VideoDenoiser,
    ) -> None:
        self.objective, self.plan = objective, plan
        self.videos, self.error = videos, StageTwoLoss(objective)
        self.schedule = self.error.schedule
        self.device, folder = choose_device(), work / "stage1"
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
        vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
        self.codec = PictureCodec(vae)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
        torch.manual_seed(self.plan.seed)
        spec = read_unet_spec(self.unet.config, folder / "unet")
        self.main, self.appearnet = inflate(self.unet, spec)
        # Not channels_last: torch 2.13's CPU backward of the inflated network crashes in that format.
        self.denoiser = compose(self.main, self.appearnet)
        for net in (self.unet, vae, self.text_encoder, self.main, self.appearnet, self.denoiser):
            net.to(self.device)
        self.redrawn = redrawn_keyframes(videos, self.codec, work)
        self.batches = Ahead.beside(self.device, self.batch)

    def loss(self, step: int) -> Tensor:
        """`StageTwoLoss` of one batch of clips."""
        lesson, ids = self.batches(step)
        with torch.no_grad():
            text = embed(self.text_encoder, ids)
        return self.error.of(self.denoiser, lesson, text)

    def batch(self, step: int) -> tuple[Lesson, Tensor]:
        """What is shown at a step, and its captions' tokens (B, L): a function of the step alone."""
        objective, batch = self.objective, self.plan.batch
        rng = np.random.default_rng((self.plan.seed, step))
        noise_source = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + step)
        numbers = self.videos.draw(rng, batch, objective.rotating_weight)
        clean = self.videos.clips(numbers)
        redrawn = torch.from_numpy(rng.random(batch) < objective.redrawn_share).view(-1, 1, 1, 1)
        z_c = torch.where(redrawn, self.redrawn[numbers], clean[:, clean.shape[1] // 2])
        captions = self.videos.captions(numbers, rng, objective.text_dropped, objective.contrary_share)
        return self.error.lesson(clean, z_c, noise_source), token_ids(self.tokenizer, captions)


class Previews:
    """Held-out prompts through both stages, one clip a row."""

    def __init__(self, stage: StageTwo, spec: CinemaSpec, path: Path, count: int = 8) -> None:
        self.spec, self.path, self.seed = spec, path, stage.plan.seed
        self.prompts = [text for text, _ in held_out_prompts(count, stage.plan.seed, TRAIN_TEMPLATES)]
        text = TextEncoder(stage.tokenizer, stage.text_encoder)
        painter = TextToImage(stage.unet, text, stage.codec, stage.schedule, spec.vae_factor)
        width, height = spec.sizes[0]
        orders = [
            PictureOrder(prompt, "", self.seed + n, spec.picture_steps, spec.picture_guidance, width, height)
            for n, prompt in enumerate(self.prompts)
        ]
        self.keyframes: list[Picture] = result_of(painter.paint(orders))
        self.animator = ImageToVideo(stage.denoiser, text, stage.codec, stage.schedule)

    def draw(self, step: int) -> None:
        """Write the sheet: keyframe, then every second frame."""
        spec, (width, height) = self.spec, self.spec.sizes[0]
        orders = [
            VideoOrder(
                prompt=prompt,
                negative_prompt="",
                seed=self.seed + n,
                steps=spec.video_steps,
                guidance_scale=spec.video_guidance,
                gamma=spec.noise_prior_gamma,
                num_frames=spec.frames.default,
                width=width,
                height=height,
            )
            for n, prompt in enumerate(self.prompts)
        ]
        clips = result_of(self.animator.animate(orders, self.keyframes))
        rows = []
        for keyframe, clip in zip(self.keyframes, clips, strict=True):
            frames = list(self.animator.decode(clip))
            rows.append(np.concatenate([keyframe, *frames[::2], frames[-1]], axis=1))
        sheet = Image.fromarray(np.concatenate(rows))
        sheet.resize((sheet.width * 2, sheet.height * 2)).save(self.path)
        self.path.with_suffix(".txt").write_text("\n".join([f"step {step}", *self.prompts]) + "\n")


def train(config: Path, work: Path) -> Path:
    """Train (or go on), then save `work/model`; returns it. Complete runs return at once."""
    folder = work / "model"
    if folder.exists():
        return folder
    objective, plan = table(config, "objective", Objective), table(config, "plan", Plan)
    torch.set_num_threads(plan.threads)
    stage = StageTwo(objective, plan, work, VideoSet.load(config.with_name("video_set.toml"), work))
    start_stage_two(table(config, "start", Start), stage.main, stage.appearnet)
    spec = replace(
        MICRO,
        unet=stage.main.spec,
        noise_prior_lambda=stage.objective.appearance_weight,
        vocabulary=training_vocabulary(),
    )
    previews = Previews(stage, spec, work / "image_to_video_sheet.png")
    training = Training(
        "image_to_video", {"main": stage.main, "appearnet": stage.appearnet}, plan, work, time.monotonic
    )
    moving = sum(weight.numel() for weight in training.parameters.values())
    print(f"image_to_video: {moving:,} parameters train", flush=True)
    training.run(stage.loss, previews.draw)
    training.ema.swap(training.parameters)
    previews.draw(training.step)
    partial = work / "model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(work / "stage1", partial)
    save_stage_two(partial, spec, stage.main, stage.appearnet, torch.float16)
    partial.rename(folder)
    return folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train stage 2 (image and text to video).")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("image_to_video.toml"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    train(options.config, options.work)


if __name__ == "__main__":
    main()
