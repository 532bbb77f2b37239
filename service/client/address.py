"""Where the gateway is, checked before anything is sent there."""

import httpx

from service.client.errors import Unreachable


def checked_url(url: str) -> httpx.URL:
    """Raises Unreachable for a URL that can lead nowhere."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Unreachable(f"{url!r} is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unreachable(f"{url!r} is no http or https URL with a host")
    return parsed


def key_headers(api_key: str | None) -> dict[str, str]:
    """What every request carries where the gateway asks for keys."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def read_readiness(answer: httpx.Response) -> tuple[bool, dict[str, object]]:
    """Whether the gateway can take work now, and its parts as it sees them. Raises ValueError."""
    parts = answer.json()
    return answer.is_success, dict(parts) if isinstance(parts, dict) else {}
