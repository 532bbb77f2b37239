"""What can go wrong inside the models, each with a sentence that can be shown to the client."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the models' own errors."""


class NonFiniteLatents(ModelError):
    """The final latents hold NaN or infinity: there is no picture in them."""


class BadWeights(ModelError):
    """A weights folder is incomplete, altered, or of another architecture."""
