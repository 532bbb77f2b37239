"""Text-to-image pipelines in miniature, one function each."""

from __future__ import annotations

from typing import Any

import diffusers

from rig.tiny_parts import (
    WIDTH,
    clip_text,
    clip_tokenizer,
    ddim,
    picture_vae,
    t5_text,
    t5_tokenizer,
)


def flat_unet(**changes: Any) -> Any:
    sizes = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
        "cross_attention_dim": WIDTH,
        "norm_num_groups": 4,
    }
    return diffusers.UNet2DConditionModel(**(sizes | changes))


def stable_diffusion() -> Any:
    """SD 1.x and 2.x are one class; PNDM is what SD 1.5's folder names."""
    return diffusers.StableDiffusionPipeline(
        vae=picture_vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=flat_unet(),
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_2() -> Any:
    """SD 2.1's differences: DDIM, v-prediction, linear projections."""
    return diffusers.StableDiffusionPipeline(
        vae=picture_vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=flat_unet(use_linear_projection=True),
        scheduler=ddim("v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=picture_vae(),
        text_encoder=clip_text(projection=False),
        text_encoder_2=clip_text(projection=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=flat_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            transformer_layers_per_block=(1, 1),
        ),
        scheduler=diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, steps_offset=1),
    )


def sd3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=1,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            out_channels=4,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=picture_vae(shift_factor=0.0609),
        text_encoder=clip_text(projection=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(projection=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text(2 * WIDTH),
        tokenizer_3=t5_tokenizer(),
    )


def flux() -> Any:
    """Its pipeline takes 128 latent cells for its own size, whatever the folder says: one pixel for each."""
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=picture_vae(levels=1, shift_factor=0.1159),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text(),
        tokenizer_2=t5_tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=1,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(2, 2, 4),
        ),
    )


def pixart() -> Any:
    return diffusers.PixArtAlphaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(),
        vae=picture_vae(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=WIDTH,
            in_channels=4,
            cross_attention_dim=16,
            out_channels=8,
            use_additional_conditions=False,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )
