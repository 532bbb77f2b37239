"""What the `microcinema` command takes behind its flags, read and checked before anything is asked of anyone.

Each reader raises ArgumentTypeError with the bound and the value; argparse puts the flag's name in front.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from service.client.calls import URL_STARTS
from service.contracts.deadline import Deadline
from service.fields.readers import read_deadline

HIGHEST_PORT = 65535
MAX_WORKERS = 64


def whole_number(text: str) -> int:
    """An integer; its bounds are the model's, and told by the gateway."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None


def decimal_number(text: str) -> float:
    """A number; NaN and infinities too: the gateway names their bound."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def whole_within(lowest: int, highest: int) -> Callable[[str], int]:
    """A reader of whole numbers from `lowest` to `highest`."""

    def read(text: str) -> int:
        number = whole_number(text)
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"must be {lowest} to {highest}, got {number}")
        return number

    return read


def moment_or_delay(text: str) -> Deadline:
    """A time (RFC 3339, with its offset), or a delay such as 90m, 12h or 7d."""
    try:
        return read_deadline(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a time such as 2027-01-31T12:00:00Z, or how long ago, such as 12h, got {text!r}"
        ) from None


def delay_s(text: str) -> float:
    """Seconds, from a whole number of s, m, h or d."""
    delay = moment_or_delay(text)
    if not delay.relative or delay.seconds < 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 90m, 12h or 7d, got {text!r}")
    return delay.seconds


def video_id(text: str) -> str:
    """The id of a video; an empty one (of a shell variable that is not set) would ask for something else."""
    return _id(text, "a video")


def endpoint_id(text: str) -> str:
    """The id of a webhook endpoint, not empty either."""
    return _id(text, "a webhook endpoint")


def _id(text: str, noun: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must be the id of {noun}, got {text!r}")
    return text


def picture(text: str) -> Path | str:
    """A file that can be read now, or a URL, which the gateway fetches."""
    return text if text.lower().startswith(URL_STARTS) else readable_file(text)


def readable_file(text: str) -> Path:
    """A file that can be read now."""
    path = Path(text)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot be read: {error.strerror}, got {text!r}") from None
    return path


def new_file(text: str) -> Path:
    """Where a file can be written: known before a video is made for it, not minutes later."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must name a file, got the folder {text!r}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must lie in a folder that exists, got {text!r}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"must lie in a folder that can be written ({error.strerror}), got {text!r}"
        ) from None


def usable_folder(text: str) -> Path:
    """A folder that exists or can be made: no part of its way is a file."""
    path = Path(text)
    in_the_way = next((each for each in (path, *path.parents) if each.exists()), path)
    if not in_the_way.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder, got {text!r} ({in_the_way} is none)")
    return path
