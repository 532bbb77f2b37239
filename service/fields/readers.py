"""Reads one value of `POST /videos`, from JSON or from the text of a form part.

Form parts are text, and OpenAI's own clients send `seconds` as text even in JSON, so each number is accepted
as a number or as its decimal text; nothing else is bent into shape. Every reader raises one kind of error,
which carries the bound that was missed.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import httpx
from pydantic_core import PydanticCustomError

from service.contracts.deadline import Deadline
from service.contracts.request import MAX_METADATA_PAIRS
from service.refusals import shown

MAX_URL_CHARS = 2048
MAX_METADATA_KEY_CHARS = 64
MAX_METADATA_VALUE_CHARS = 512
MAX_NAME_CHARS = 200
#: The longest JSON that can hold such pairs: each character may be an escaped surrogate pair.
MAX_METADATA_JSON_CHARS = MAX_METADATA_PAIRS * (12 * (MAX_METADATA_KEY_CHARS + MAX_METADATA_VALUE_CHARS) + 8)

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,3})?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DELAY = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PRINTABLE_ASCII = re.compile(r"[!-~]+")
#: A host's name (RFC 1035 2.3.4, with the underscores that some names have) or an IPv4 address.
_HOST = re.compile(r"(?=.{1,253}$)(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*", re.ASCII)


def _out_of(bound: str) -> PydanticCustomError:
    return PydanticCustomError("bound", "must be {bound}", {"bound": bound})


def read_whole_number(value: object) -> int:
    """An integer of at most 18 digits; never a bool, a fraction or a word."""
    bound = "a whole number"
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # some JSON writers turn 16 into 16.0
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**18:
            raise _out_of(f"{bound} of at most 18 digits")
        return value
    raise _out_of(bound)


def read_decimal_number(value: object) -> float:
    """A finite number; never a bool, NaN or an infinity."""
    bound = "a finite decimal number"
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        number = float(value)
    elif isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
        if isinstance(value, int) and abs(value) >= 10**18:
            raise _out_of(bound)
        number = float(value)
    else:
        raise _out_of(bound)
    if not math.isfinite(number):
        raise _out_of(bound)
    return number + 0.0  # -0.0 is the same number, and would be shown and stored as another


def read_deadline(value: object) -> Deadline:
    """A time (RFC 3339, with its offset), or a delay: seconds, or a whole number of s, m, h or d (`10m`)."""
    try:
        if isinstance(value, str) and (moment := _MOMENT.fullmatch(value.strip())):
            return Deadline(datetime.fromisoformat(moment[0].upper()).timestamp(), relative=False)
        if isinstance(value, str) and (delay := _DELAY.fullmatch(value.strip())):
            return Deadline(float(int(delay[1]) * _UNIT_S[delay[2]]), relative=True)
        return Deadline(read_decimal_number(value), relative=True)
    except (ValueError, OverflowError):  # PydanticCustomError is a ValueError too
        bound = "a time such as 2027-01-31T12:00:00Z, or a delay in seconds or such as 10m"
        raise _out_of(bound) from None


def read_text(value: object) -> str:
    """Text that every later part can carry: no control characters (but tab, line ends), no half ones."""
    if not isinstance(value, str):
        raise _out_of("text")
    if found := _CONTROL.search(value):
        raise _out_of(f"text without control characters (found U+{ord(found[0]):04X})")
    if found := _LONE_SURROGATE.search(value):
        raise _out_of(f"well-formed Unicode text (found a lone surrogate U+{ord(found[0]):04X})")
    return value


def read_visible_text(value: object) -> str:
    """Text that a person can see something of."""
    text = read_text(value)
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise _out_of("text with at least one visible character")
    return text


def read_name(value: object) -> str:
    """A short name; whether it exists is checked elsewhere."""
    text = read_visible_text(value)
    if len(text) > MAX_NAME_CHARS:
        raise _out_of(f"at most {MAX_NAME_CHARS} characters")
    return text


def read_size(value: object) -> tuple[int, int]:
    """`"64x64"` -> (width, height) in pixels."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _out_of("WIDTHxHEIGHT in pixels, such as 64x64")
    return int(match[1]), int(match[2])


def read_webhook_url(value: object) -> str:
    """An absolute URL that a webhook could be sent to; where it leads is the notifier's to judge.

    It is read as the notifier will read it (httpx), so that none is accepted which could never be sent.
    """
    bound = f"an http or https URL with the name or address of a host, at most {MAX_URL_CHARS} characters"
    if not isinstance(value, str) or len(value) > MAX_URL_CHARS or not _PRINTABLE_ASCII.fullmatch(value):
        raise _out_of(bound)
    try:
        parts = urlsplit(value)
        reachable = parts.scheme in ("http", "https") and parts.port != 0 and _is_host(httpx.URL(value))
    except (ValueError, httpx.InvalidURL):  # a malformed address, port or international name
        raise _out_of(bound) from None
    if not reachable:
        raise _out_of(bound)
    return value


def _is_host(url: httpx.URL) -> bool:
    """Raises ValueError for what is neither a name nor an address."""
    host = url.raw_host.decode("ascii")
    if ":" in host:
        return IPv6Address(host).scope_id is None
    return bool(url.host) and _HOST.fullmatch(host.removesuffix(".")) is not None  # `host` decodes xn--


def read_metadata(value: object) -> dict[str, str]:
    """Pairs of text, given as an object or as JSON text of one."""
    if isinstance(value, str):
        if len(value) > MAX_METADATA_JSON_CHARS:
            raise _out_of(f"at most {MAX_METADATA_JSON_CHARS} characters of JSON (got {len(value)})")
        try:
            value = json.loads(value, object_pairs_hook=without_repeats)
        except (ValueError, RecursionError):
            raise _out_of("a JSON object of text values, each name once") from None
    if not isinstance(value, Mapping):
        raise _out_of("an object of text values")
    if len(value) > MAX_METADATA_PAIRS:
        raise _out_of(f"at most {MAX_METADATA_PAIRS} pairs (got {len(value)})")
    for key, text in value.items():
        if not 1 <= len(read_text(key)) <= MAX_METADATA_KEY_CHARS:
            raise _out_of(f"keyed by 1 to {MAX_METADATA_KEY_CHARS} characters (one key has {len(key)})")
        if not isinstance(text, str):
            raise _out_of(f"an object of text values (the value of {shown(key)} is not text)")
        if len(read_text(text)) > MAX_METADATA_VALUE_CHARS:
            raise _out_of(
                f"values of at most {MAX_METADATA_VALUE_CHARS} characters "
                f"(that of {shown(key)} has {len(text)})"
            )
    return dict(value)


def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For `json.loads`, which lets the last of two equal names win in silence. Raises ValueError."""
    named = dict(pairs)
    if len(named) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {shown(name)} is given more than once")
            seen.add(name)
    return named


def read_event_types(value: object, known: Sequence[str]) -> tuple[str, ...]:
    """Some of the `known` types of events, each once, given as a list or as JSON text of one."""
    bound = f"a list of some of {', '.join(known)}"
    if isinstance(value, str) and len(value) <= MAX_URL_CHARS:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _out_of(bound) from None
    if not isinstance(value, list) or not all(isinstance(each, str) and each in known for each in value):
        raise _out_of(bound)
    return tuple(dict.fromkeys(value))


def read_pause(value: object) -> str:
    """Where a job may stop for its owner: behind the image."""
    if value != "image":
        raise _out_of("image: the job stops behind its keyframe")
    return "image"


def read_single(value: object) -> int:
    """The number of videos: only 1."""
    if read_whole_number(value) != 1:
        raise _out_of("1: one request makes one video")
    return 1
