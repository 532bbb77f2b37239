"""NaN and infinity stop a video here: decoded, they would be black pictures that look like success."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.errors import NonFinite, NonFiniteLatents, NonFinitePixels


def check_finite(x: Tensor, error: type[NonFinite], sentence: str) -> None:
    """Raise `error(sentence)` if `x` holds NaN or infinity.

    One reduction, which hands NaN on, and one wait for the device; nothing of the size of `x` is made.
    """
    if not all(bool(torch.isfinite(end)) for end in torch.aminmax(x)):
        raise error(sentence)


def guard_decoders(pipeline: Any) -> None:
    """Have a pipeline of diffusers refuse final latents and pixels that are not finite where it decodes them.

    Behind its call it is too late to look: pipelines clamp pixels to their range, and infinity with them
    (Wan's autoencoder does so itself). One that overflows would give black and white, and nobody would know.
    """
    for part in pipeline.components.values():
        if isinstance(part, nn.Module) and callable(getattr(part, "decode", None)):
            _guard(part)


def _guard(autoencoder: Any) -> None:
    decode, decoder = autoencoder.decode, getattr(autoencoder, "decoder", None)

    def guarded(z: Tensor, *arguments: Any, **named: Any) -> Any:
        told = f"the latents {tuple(z.shape)} are not finite behind the last step"
        check_finite(z, NonFiniteLatents, told)
        made = decode(z, *arguments, **named)
        if not isinstance(decoder, nn.Module):
            _check_pixels(made[0])
        return made

    autoencoder.decode = guarded
    if isinstance(decoder, nn.Module):
        decoder.register_forward_hook(
            lambda _module, _given, made: _check_pixels(made if isinstance(made, Tensor) else made[0])
        )


def _check_pixels(x: Tensor) -> None:
    told = f"the autoencoder made pixels {tuple(x.shape)} that are not finite in {x.dtype}"
    check_finite(x, NonFinitePixels, told)
