"""The lines of several workers in one stream, each with the name of its worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal, TextIO


def labelled(out: TextIO, log_format: Literal["json", "human"]) -> Callable[[str, str], None]:
    """A `show(name, line)` that writes to `out`.

    human: `name | line`. json: one object a line, always; a worker's own gets the field `place`, and what is
    no object (a traceback, a word of a native library) becomes the `event` of one.
    """

    def show(name: str, line: str) -> None:
        out.write((_object(name, line) if log_format == "json" else f"{name:<6} | {line}") + "\n")
        out.flush()

    return show


def _object(name: str, line: str) -> str:
    try:
        facts = json.loads(line)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        facts = {"event": line, "process": "worker"}
    return json.dumps({**facts, "place": name}, ensure_ascii=False, separators=(",", ":"))
