"""Questions to servers of the tests over plain HTTP, without reading the world's certificates first.

A client of httpx reads them when it is made, for 15 ms or more of a core: a poll would cost more than its
answer.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

#: For httpx.Client(), httpx.get() and the like. Trusts no certificate; needs none.
PLAIN: Final[dict[str, Any]] = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "trust_env": False}


def says_ready(url: str) -> bool:
    """Whether `url` answers 200; not if nobody is there."""
    try:
        return httpx.get(url, timeout=2, **PLAIN).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
