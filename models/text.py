"""Prompts to embeddings, by the model's own CLIP tokenizer and text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer


class TextEncoder:
    """Stable Diffusion's text side: every prompt is padded or cut to the encoder's length L."""

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self.length = int(tokenizer.model_max_length)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """B prompts -> (B, L, D) in the encoder's number format, on its device."""
        tokens = self._tokenizer(
            list(prompts), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        ids = tokens.input_ids.to(self._model.device)
        hidden: Tensor = self._model(ids).last_hidden_state
        return hidden
