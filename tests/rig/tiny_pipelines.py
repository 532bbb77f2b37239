"""Public pipelines in miniature: diffusers' own classes with random weights, saved as the real folders are.

Each folder is under 1 MB (Stable Video Diffusion 4 MB: its group norms want 32 channels) and makes noise in
milliseconds. Sizes follow the real proportions where a rule hangs on them (latent frames, pixels per latent
cell), and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

WIDTH = 16
"""Width of text and picture embeddings."""


def clip_tokenizer() -> Any:
    """CLIP's tokenizer without merges: every byte is a token."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        unk_token="<|endoftext|>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=24,
    )


def clip_text(projection: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=WIDTH,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    if projection:
        return transformers.CLIPTextModelWithProjection(config).eval()
    return transformers.CLIPTextModel(config).eval()


def t5_tokenizer() -> Any:
    letters = [(chr(code), -3.0) for code in range(33, 127)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    return transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=32)


def t5_text(width: int = WIDTH) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=100, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).eval()


def umt5_text() -> Any:
    return transformers.UMT5EncoderModel(
        transformers.UMT5Config(vocab_size=100, d_model=WIDTH, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).eval()


def clip_vision(side: int, patch: int, projection: bool = True) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        intermediate_size=WIDTH,
        patch_size=patch,
    )
    if projection:
        return transformers.CLIPVisionModelWithProjection(config).eval()
    return transformers.CLIPVisionModel(config).eval()


def picture_processor(side: int) -> Any:
    return transformers.CLIPImageProcessorPil(crop_size=side, size=side)


def picture_vae(levels: int = 3, shift_factor: float | None = None) -> Any:
    """Pixels per latent cell: 2 ** (levels - 1)."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=32,
        shift_factor=shift_factor,
    ).eval()


def ddim(prediction_type: str = "epsilon") -> Any:
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
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


PICTURE_PIPELINES: dict[str, Callable[[], Any]] = {
    "sd15": stable_diffusion,
    "sd21": stable_diffusion_2,
    "sdxl": sdxl,
    "sd3": sd3,
    "pixart": pixart,
}
VIDEO_PIPELINES: dict[str, Callable[[], Any]] = {
    "i2vgen-xl": i2vgen_xl,
    "svd": stable_video_diffusion,
    "cogvideox-i2v": cogvideox_image_to_video,
    "ltx-i2v": ltx_image_to_video,
    "wan-i2v": wan_image_to_video,
    "modelscope": text_to_video_sd,
    "cogvideox": cogvideox,
}


def write_tiny(name: str, folder: Path, seed: int = 0, make: Callable[[], Any] | None = None) -> Path:
    """Save the named pipeline (or what `make` builds) under `folder`/`name`; returns that folder."""
    build = make or (PICTURE_PIPELINES | VIDEO_PIPELINES)[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = build()
    pipeline.save_pretrained(folder / name)
    return folder / name
