"""Video pipelines in miniature, one function each."""

from __future__ import annotations

from typing import Any

import diffusers

from rig.tiny_parts import (
    WIDTH,
    clip_text,
    clip_tokenizer,
    clip_vision,
    ddim,
    picture_processor,
    picture_vae,
    t5_text,
    t5_tokenizer,
    umt5_text,
)


def i2vgen_xl(prediction_type: str = "epsilon") -> Any:
    return diffusers.I2VGenXLPipeline(
        vae=picture_vae(4),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        image_encoder=clip_vision(32, 8),
        feature_extractor=picture_processor(32),
        unet=diffusers.I2VGenXLUNet(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=4,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=4,
            num_attention_heads=None,
            norm_num_groups=2,
        ),
        scheduler=ddim(prediction_type),
    )


def stable_video_diffusion() -> Any:
    return diffusers.StableVideoDiffusionPipeline(
        vae=diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32, 32),  # its groups are fixed at 32
            down_block_types=("DownEncoderBlock2D",) * 4,
            latent_channels=4,
            layers_per_block=1,
        ),
        image_encoder=clip_vision(224, 56),
        unet=diffusers.UNetSpatioTemporalConditionModel(
            block_out_channels=(32,),
            layers_per_block=1,
            sample_size=4,
            down_block_types=("CrossAttnDownBlockSpatioTemporal",),
            up_block_types=("CrossAttnUpBlockSpatioTemporal",),
            cross_attention_dim=WIDTH,
            num_attention_heads=2,
            projection_class_embeddings_input_dim=24,
            addition_time_embed_dim=8,
            num_frames=4,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            sigma_max=700.0,
            sigma_min=0.002,
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        feature_extractor=picture_processor(224),
    )


def _cogvideox_parts(in_channels: int) -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5_text(),
        "vae": diffusers.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
            sample_height=32,
            sample_width=32,
        ).eval(),
        "transformer": diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=in_channels,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=WIDTH,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=9,
            patch_size=2,
            temporal_compression_ratio=4,
            max_text_seq_length=226,
            use_rotary_positional_embeddings=True,
        ),
        "scheduler": diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction"),
    }


def cogvideox_image_to_video() -> Any:
    return diffusers.CogVideoXImageToVideoPipeline(**_cogvideox_parts(in_channels=8))


def cogvideox() -> Any:
    return diffusers.CogVideoXPipeline(**_cogvideox_parts(in_channels=4))


def ltx_image_to_video() -> Any:
    return diffusers.LTXImageToVideoPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(),
        vae=diffusers.AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, True, False),
            decoder_spatio_temporal_scaling=(True, True, True, False),
            decoder_inject_noise=(False,) * 5,
            upsample_residual=(False,) * 4,
            upsample_factor=(1,) * 4,
            patch_size=4,
            patch_size_t=1,
        ).eval(),
        transformer=diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=1,
            caption_channels=WIDTH,
        ),
    )


def wan_image_to_video() -> Any:
    return diffusers.WanImageToVideoPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=umt5_text(),
        vae=diffusers.AutoencoderKLWan(
            base_dim=4,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ).eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        image_encoder=clip_vision(32, 8, projection=False),
        image_processor=picture_processor(32),
        transformer=diffusers.WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36,
            out_channels=16,
            text_dim=WIDTH,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
            rope_max_seq_len=32,
            image_dim=WIDTH,
        ),
    )


def text_to_video_sd() -> Any:
    return diffusers.TextToVideoSDPipeline(
        vae=picture_vae(4),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=diffusers.UNet3DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=4,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=4,
            norm_num_groups=2,
        ),
        scheduler=ddim(),
    )
