"""Captions to text embeddings in training, with gradients where the caller wants them."""

from threading import Lock

from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

_one_at_a_time = Lock()  # a fast tokenizer refuses to pad for two threads at once ("Already borrowed")


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Tokens (B, L), padded or cut to the encoder's length. Any thread may ask."""
    with _one_at_a_time:
        tokens = tokenizer(
            captions,
            padding="max_length",
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        )
    ids: Tensor = tokens.input_ids
    return ids


def embed(text_encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """Last hidden states (B, L, width) of tokens (B, L), as StableDiffusionPipeline computes them."""
    states: Tensor = text_encoder(ids.to(text_encoder.device))[0]
    return states
