"""Components of pipelines in miniature: tokenizers, text and picture encoders, autoencoder, scheduler."""

from __future__ import annotations

from typing import Any

import diffusers
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
