"""From a batch of clips to what the loss takes: clean latents, keyframe latents, text embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.text import TextEncoder
from models.training.objective import Objective
from models.training.scale.footage import Frames
from models.training.scale.sources import Batch
from models.vae import PictureCodec
from models.weights import Parts


@dataclass(frozen=True)
class Example:
    """clean (B, F, C, h, w) and z_c (B, C, h, w) float32 on the CPU, text (B, L, D) beside the networks."""

    clean: Tensor
    z_c: Tensor
    text: Tensor


class Conditions:
    """Frozen autoencoder and text encoder in front of the loss.

    The keyframe is the clip's own centre frame (F // 2); of a share of the clips it went through decoder and
    encoder once more, as the keyframes of stage 1 do. A share of the captions is dropped, for guidance.
    """

    def __init__(
        self, parts: Parts, objective: Objective, device: torch.device, encode_together: int
    ) -> None:
        self._codec = PictureCodec(parts.vae)
        self._text = TextEncoder(parts.tokenizer, parts.text_encoder)
        self._objective, self._device, self._together = objective, device, encode_together

    def prepare(self, batch: Batch, rng: np.random.Generator) -> Example:
        """Raises NonFiniteLatents."""
        clean = batch.clips if isinstance(batch.clips, Tensor) else self._encoded(batch.clips)
        z_c = clean[:, clean.shape[1] // 2].clone()
        for row in np.flatnonzero(rng.random(len(z_c)) < self._objective.redrawn_share):
            picture = self._codec.decode(z_c[row].to(self._device))
            z_c[row] = self._codec.encode([picture])[0].cpu()
        dropped = rng.random(len(z_c)) < self._objective.text_dropped
        captions = ["" if d else text for d, text in zip(dropped, batch.captions, strict=True)]
        # out of inference mode: what a backward pass needs must be an ordinary tensor
        return Example(clean, z_c, self._text.encode(captions).float().clone())

    def _encoded(self, clips: Frames) -> Tensor:
        frames = list(clips.reshape(-1, *clips.shape[2:]))
        parts = [
            self._codec.encode(frames[n : n + self._together]).cpu()
            for n in range(0, len(frames), self._together)
        ]
        return torch.cat(parts).unflatten(0, clips.shape[:2])  # type: ignore[no-untyped-call]
