"""What can go wrong inside the models, each with a sentence that can be shown to the client."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the models' own errors."""


class NonFinite(ModelError):
    """A network gave NaN or infinity: there is no picture in that."""


class NonFiniteLatents(NonFinite):
    """The final latents of a stage hold NaN or infinity."""


class NonFinitePixels(NonFinite):
    """The autoencoder made NaN or infinity of latents that were finite."""


class PictureWithheld(ModelError):
    """A picture model's own safety checker blacked its picture out; the video would be black."""


class BadWeights(ModelError):
    """A weights folder is incomplete, altered, or of another architecture."""


class CheckpointUnfit(ModelError):
    """A clip that was kept between two steps is not of this run, or cannot be read."""
