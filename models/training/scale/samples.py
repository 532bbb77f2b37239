"""The clips of one tar file in the WebDataset layout, whoever made it: `KEY.mp4` and its caption.

Makers differ. Here a key is a member's name without its last suffix, so that `clip.0.mp4` and `clip.1.mp4`
are two clips; what belongs together need not stand together; and what is neither video nor caption is passed
over. The caption is `KEY.txt`, or else `caption` or `text` in `KEY.json`. Clips come in the order of their
videos.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from models.training.scale.clip_times import Unfit

VIDEO, TEXT, WORDS = ".mp4", ".txt", ".json"
OTHER_VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"}
_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError)  # a header that is none is a ValueError at times


@dataclass(frozen=True)
class Sample:
    """What a tar file holds under one key: suffix -> member. Reading is done when it is asked for."""

    key: str
    _tar: tarfile.TarFile
    _members: dict[str, tarfile.TarInfo] = field(default_factory=dict)

    @property
    def mp4(self) -> bytes:
        """The video. Raises Unfit: `unreadable`, or `no_video` and `not_mp4` where there is none."""
        if VIDEO in self._members:
            return self._read(VIDEO)
        others = sorted(OTHER_VIDEOS & self._members.keys())
        if others:
            raise Unfit("not_mp4", f"{others[0]} is not read; ffmpeg makes an MP4 of it")
        raise Unfit("no_video", f"there is {' and '.join(sorted(self._members))} and no {VIDEO}")

    @property
    def caption(self) -> str:
        """Without white space around it. Raises Unfit: `no_caption`, `bad_caption` or `unreadable`."""
        if TEXT in self._members:
            words: object = _text(self._read(TEXT), TEXT)
        elif WORDS in self._members:
            said = self.words
            words = said.get("caption", said.get("text"))
        else:
            raise Unfit("no_caption", f"there is neither {TEXT} nor {WORDS} with its video")
        if not isinstance(words, str) or not words.strip():
            raise Unfit("no_caption", "its caption is empty")
        return words.strip()

    @property
    def words(self) -> dict[str, Any]:
        """What its JSON says; nothing if it has none. Raises Unfit."""
        if WORDS not in self._members:
            return {}
        try:
            said = json.loads(_text(self._read(WORDS), WORDS))
        except ValueError as error:
            raise Unfit("bad_caption", f"its {WORDS} is none: {error}") from error
        if not isinstance(said, dict):
            raise Unfit("bad_caption", f"its {WORDS} is no object")
        return said

    def _read(self, suffix: str) -> bytes:
        member = self._members[suffix]
        try:
            file = self._tar.extractfile(member)
            body = b"" if file is None else file.read()
        except _BROKEN as error:
            raise Unfit("unreadable", f"{member.name} does not read: {error}") from error
        if len(body) != member.size:
            raise Unfit("unreadable", f"{member.name} has {len(body)} of its {member.size} bytes")
        return body


@dataclass(frozen=True)
class Content:
    """`clips` have a video, in the order of these; `others` have none.

    `astray`: name -> reason and sentence, for members that belong to no sample, and for the file's own end.
    """

    clips: list[Sample]
    others: list[Sample]
    astray: dict[str, Unfit]


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    """Read the names in a tar file; its samples can be read inside the block. Raises Unfit if it is none."""
    try:
        tar = tarfile.open(path, "r:")  # noqa: SIM115 - closed below; what fails there is not of the opening
    except _BROKEN as error:
        raise Unfit("unreadable", f"it is no tar file: {error}") from error
    with tar:
        yield _content(tar)


def _content(tar: tarfile.TarFile) -> Content:
    samples: dict[str, Sample] = {}
    first: dict[str, int] = {}
    astray: dict[str, Unfit] = {}
    for number, member in enumerate(_members(tar, astray)):
        name = PurePosixPath(member.name)
        suffix = name.suffix.lower()
        if not member.isfile() or suffix not in {VIDEO, TEXT, WORDS, *OTHER_VIDEOS}:
            continue
        key = str(name.with_suffix(""))
        sample = samples.setdefault(key, Sample(key, tar))
        if suffix in sample._members:
            astray[f"{member.name} (again)"] = Unfit("repeated", "an earlier member has the same name")
            continue
        sample._members[suffix] = member
        if suffix == VIDEO:
            first[key] = number
    with_video = sorted((number, key) for key, number in first.items())
    without = [sample for key, sample in samples.items() if key not in first]
    return Content([samples[key] for _, key in with_video], without, astray)


def _members(tar: tarfile.TarFile, astray: dict[str, Unfit]) -> Iterator[tarfile.TarInfo]:
    """As far as the file goes: one that was cut off keeps what lies before the cut."""
    try:
        yield from tar
    except _BROKEN as error:
        astray["(its end)"] = Unfit("unreadable", f"it is cut off or damaged: {error}")


def _text(body: bytes, suffix: str) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unfit("bad_caption", f"its {suffix} is not UTF-8") from None
