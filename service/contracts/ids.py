"""Names of things: what an id may look like, and how a new video gets one."""

import re
import secrets
import time
from collections.abc import Callable

ID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
"""Ids travel in URLs, Redis keys and object keys, so they hold nothing that needs escaping in any of them."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
"""Tenants, pools and models. No colon and no slash: both separate the parts of a key."""

SHA256_PATTERN = r"^[0-9a-f]{64}$"
"""In lower case, as hashlib writes it."""

_ID = re.compile(ID_PATTERN)
_NAME = re.compile(NAME_PATTERN)


def new_video_id(
    clock_ms: Callable[[], float] = lambda: time.time() * 1000,
    random_hex: Callable[[int], str] = secrets.token_hex,
) -> str:
    """A fresh id: "video_", 12 hex digits of milliseconds since 1970, 20 random hex digits (80 bits).

    Ids made later sort later, as in UUID version 7 (RFC 9562, section 5.7), so a listing of objects by
    name is a listing by age.
    """
    return f"video_{int(clock_ms()):012x}{random_hex(10)}"


def is_id(text: str) -> bool:
    """Whether `text` may be an id at all; anything else cannot exist and is not worth a look-up."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether `text` may name a tenant, a pool or a model."""
    return _NAME.fullmatch(text) is not None
