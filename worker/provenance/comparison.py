"""A film made again, against the film that it repeats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import zip_longest

import numpy as np

from service.contracts.receipt import MAX_PSNR_DB, Receipt, Reproduction, Verdict
from service.contracts.request import Original
from service.storage.artifact_store import ArtifactMissing, ArtifactStore, StorageError
from worker.failures import BadInput
from worker.renderer import Picture
from worker.source_film import frames_of

#: Where these differ, other frames are what was to be expected.
_DECISIVE = ("weight_hash", "device_class")
_TOLD = ("batch", "resumed_after")


class NotToBeMeasured(Exception):
    """The two films cannot be laid over each other; the text says why."""


def compare(
    original: Original,
    receipt: Receipt,
    body: bytes,
    storage: ArtifactStore,
    go_on: Callable[[], None],
) -> Reproduction:
    """What came of the repetition whose MP4 is `body`. Equal frame digests settle it; only unequal ones need
    the original's bytes, which nobody kept for this: it may have been deleted since. `go_on` is asked for
    each frame, and ends the work by raising.
    """
    before = original.receipt
    if receipt.frame_digest == before.frame_digest:
        return Reproduction(verdict=Verdict.EQUAL, changed=changed(before, receipt))
    others = changed(before, receipt)
    reasons = [
        f"{name} was {getattr(before, name)} and is {getattr(receipt, name)}"
        for name in _DECISIVE
        if name in others
    ]
    decibels = None
    try:
        decibels = psnr_db(_stored(original, storage), body, go_on)
    except NotToBeMeasured as why:
        reasons.append(str(why))
    verdict = Verdict.INCOMPARABLE if reasons else Verdict.DIFFERENT
    return Reproduction(verdict=verdict, psnr_db=decibels, changed=others, reason="; ".join(reasons) or None)


def changed(before: Receipt, now: Receipt) -> tuple[str, ...]:
    """The conditions of two runs of one request that are not the same."""
    plain = [name for name in (*_DECISIVE, *_TOLD) if getattr(before, name) != getattr(now, name)]
    formats = [
        f"stages.{name}"
        for name in sorted(before.stages.keys() | now.stages.keys())
        if before.stages.get(name) != now.stages.get(name)
    ]
    keyframe = ["keyframe"] if _pixels(before) != _pixels(now) else []
    versions = [
        f"versions.{name}"
        for name in sorted(before.versions.keys() | now.versions.keys())
        if before.versions.get(name) != now.versions.get(name)
    ]
    return (*plain, *formats, *keyframe, *versions)


def psnr_db(film: bytes, other: bytes, go_on: Callable[[], None]) -> float:
    """Between two MP4s of ours, decoded alike to 8-bit RGB: 10 log10(255^2 / MSE), the mean taken over every
    value of every frame; at most MAX_PSNR_DB. Raises NotToBeMeasured.
    """
    squares, count = 0, 0
    pair: tuple[Picture | None, Picture | None]
    for pair in zip_longest(_frames(film), _frames(other)):
        go_on()
        one, two = pair
        if one is None or two is None or one.shape != two.shape:
            raise NotToBeMeasured("the stored films differ in size or length")
        difference = one.astype(np.int32) - two
        squares += int((difference * difference).sum())
        count += difference.size
    if squares == 0:
        return MAX_PSNR_DB
    return round(min(MAX_PSNR_DB, 10 * math.log10(255**2 * count / squares)), 2)


def _frames(film: bytes) -> Iterator[Picture]:
    try:
        yield from frames_of(film)
    except BadInput:
        raise NotToBeMeasured("a stored film does not decode") from None


def _stored(original: Original, storage: ArtifactStore) -> bytes:
    try:
        return b"".join(storage.read(original.key))
    except ArtifactMissing:
        raise NotToBeMeasured("the original's file is gone: it was deleted or its time is over") from None
    except StorageError:
        raise NotToBeMeasured("the storage did not give the original's file") from None


def _pixels(receipt: Receipt) -> str | None:
    return None if receipt.keyframe is None else receipt.keyframe.pixels_sha256
