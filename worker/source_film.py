"""The film that an extension goes on with: read back, looked at, and joined with the new clip."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from itertools import chain, islice

import av

from service.contracts.request import SourceFilm
from service.storage.artifact_store import ArtifactMissing, ArtifactStore
from worker.failures import BadInput
from worker.renderer import Picture


def read_source(storage: ArtifactStore, source: SourceFilm) -> bytes:
    """The MP4 that intake copied for this job. Raises BadInput if it is gone or altered.

    StorageUnavailable passes through.
    """
    try:
        body = b"".join(storage.read(source.key))
    except ArtifactMissing as lost:
        raise BadInput("extend: the stored copy of the old video is gone, ask again") from lost
    if hashlib.sha256(body).hexdigest() != source.sha256:
        raise BadInput("extend: the stored copy of the old video was altered, ask again")
    return body


def frames_of(body: bytes) -> Iterator[Picture]:
    """Every frame of an MP4 of ours, uint8 RGB (H, W, 3), one by one. Raises BadInput."""
    try:
        with av.open(io.BytesIO(body), "r", format="mp4") as container:
            for frame in container.decode(video=0):
                rgb = frame.reformat(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
                picture: Picture = rgb.to_ndarray()
                yield picture
    except (av.error.FFmpegError, IndexError) as error:
        raise BadInput(f"extend: the old video does not decode: {error}") from error


def last_frame(body: bytes, source: SourceFilm) -> Picture:
    """What the new clip begins with. Raises BadInput, also if there are not as many frames as promised."""
    last, count = None, 0
    for picture in frames_of(body):
        last, count = picture, count + 1
    if last is None or count != source.frames:
        raise BadInput(f"extend: the old video has {count} frames, {source.frames} were promised")
    return last


def joined(body: bytes | None, clip: Iterator[Picture]) -> Iterator[Picture]:
    """The old film's frames (None: there is none), then the clip's but the first, which repeats its last."""
    return clip if body is None else chain(frames_of(body), islice(clip, 1, None))
