"""The keyframe as a stored picture: stage 1's product, or the client's own."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image

from service.contracts.artifact import Artifact
from service.contracts.request import PictureRef
from service.storage.artifact_store import ArtifactMissing, ArtifactStore
from worker.renderer import Picture

CONTENT_TYPE = "image/png"


class PictureLost(Exception):
    """A stored picture is not there any more, or is not the one that was stored."""


def to_png(picture: Picture) -> bytes:
    """uint8 RGB (H, W, 3) to PNG, without metadata: equal pictures make equal bytes."""
    body = io.BytesIO()
    Image.fromarray(picture).save(body, "PNG")
    return body.getvalue()


def picture_artifact(key: str, body: bytes, width: int, height: int) -> Artifact:
    """How the record names a PNG stored under `key`."""
    return Artifact(
        key=key,
        content_type=CONTENT_TYPE,
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        width=width,
        height=height,
    )


def read_picture(storage: ArtifactStore, stored: Artifact | PictureRef) -> tuple[Picture, bytes]:
    """A stored PNG: the picture, uint8 RGB (H, W, 3), and the object's bytes.

    Raises PictureLost if it is missing, altered, undecodable or not of the size that the record says.
    StorageUnavailable passes through.
    """
    try:
        body = b"".join(storage.read(stored.key))
    except ArtifactMissing as error:
        raise PictureLost(str(error)) from error
    if hashlib.sha256(body).hexdigest() != stored.sha256:
        raise PictureLost(f"{stored.key!r} is not the object whose checksum the record holds")
    try:
        with Image.open(io.BytesIO(body), formats=["PNG"]) as image:
            if image.size != (stored.width, stored.height):
                raise PictureLost(
                    f"{stored.key!r} is {image.width}x{image.height}, {stored.width}x{stored.height} expected"
                )
            return np.array(image.convert("RGB")), body
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureLost(f"{stored.key!r} does not decode as a PNG: {error}") from error
