"""Captions to text embeddings in training, with gradients where the caller wants them."""

from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer


def embed(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, captions: list[str]) -> Tensor:
    """Last hidden states (B, L, width), as StableDiffusionPipeline computes them."""
    tokens = tokenizer(
        captions,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    states: Tensor = text_encoder(tokens.input_ids)[0]
    return states
