"""Webhooks and pictures lie where a client says: never call what only we can reach (OWASP: SSRF).

A name is resolved once, every address it has is judged, and the connection goes to a judged address: a second
look-up (DNS rebinding) never happens. Redirects are not followed anywhere, so they need no judging.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

#: Host and port to addresses as text, in the order of preference; OSError if there is none.
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address behind it
_IPV4_COMPATIBLE = IPv6Network("::/96")  # RFC 4291 2.5.5.1, deprecated but still parsed
_GLOBAL_IN_NAME_ONLY = (
    IPv4Network("168.63.129.16/32"),  # answered by the host of every Azure machine
    IPv4Network("192.0.0.0/24"),  # RFC 6890; older Pythons call parts of it global
    IPv4Network("192.88.99.0/24"),  # RFC 7526: relays of 6to4, withdrawn
)
_PORTS = {"http": 80, "https": 443}


class AddressRefused(Exception):
    """The URL leads where we do not go for strangers. No later try can help."""


class NameUnresolved(Exception):
    """The host has no address at the moment."""


def origin_of(url: httpx.URL) -> str:
    """`https://host:443`: scheme, host in ASCII and port, always written out."""
    host = url.raw_host.decode("ascii")
    port = _PORTS.get(url.scheme, 0) if url.port is None else url.port
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


async def resolve_by_system(host: str, port: int) -> list[str]:
    """What the system's resolver says, decimal, octal and short forms of addresses included."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anyone on the internet could reach this address as well as we can.

    An IPv6 address that carries IPv4 addresses is as public as they are.
    """
    carried = list(_carried(address)) if isinstance(address, IPv6Address) else []
    if carried:
        return all(is_public(inner) for inner in carried)
    if isinstance(address, IPv4Address):
        if any(address in network for network in _GLOBAL_IN_NAME_ONLY):
            return False
    elif address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _names_our_own(host: str) -> bool:
    """Whether a host is an address in any form that the system reads, or `localhost` (RFC 6761), and not
    public. Nobody is asked for names."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return not all(is_public(ip_address(entry[4][0])) for entry in found)


@dataclass(frozen=True)
class Guard:
    """Turns a URL into the addresses that may be connected to. `allow_private` lets every address pass."""

    allow_private: bool = False
    resolve: Resolve = resolve_by_system

    def refuses_at_sight(self, url: httpx.URL) -> bool:
        """Whether the URL itself says, before any name is looked up, that nothing will be sent there."""
        return not self.allow_private and _names_our_own(url.raw_host.decode("ascii"))

    async def addresses(self, url: httpx.URL) -> list[str]:
        """At least one address. Raises AddressRefused or NameUnresolved.

        One private address among public ones refuses the whole name: it is an attempt, or about to go wrong.
        """
        if url.scheme not in _PORTS or not url.host:
            raise AddressRefused(f"only http and https URLs with a host are called, not {url.scheme!r}")
        port = _PORTS[url.scheme] if url.port is None else url.port
        if not 1 <= port <= 65535:
            raise AddressRefused(f"the port is {port}, allowed are 1 to 65535")
        # As written, in ASCII. `url.host` is decoded, and the resolver would encode it by the rules of
        # 2003: xn--fa-hia.de is then another host, fass.de.
        host = url.raw_host.decode("ascii")
        try:
            found = await self.resolve(host, port)
        except (OSError, UnicodeError) as problem:
            raise NameUnresolved(f"the host {host!r} has no address: {problem}") from problem
        if not found:
            raise NameUnresolved(f"the host {host!r} has no address")
        for text in found:
            if not self.allow_private and not is_public(ip_address(text)):
                raise AddressRefused(f"the host {host!r} leads to {text}, which is not a public address")
        return found


class PinnedTransport(httpx.AsyncBaseTransport):
    """Connects to an address that the guard has judged, under the name that the URL gave (Host and TLS)."""

    def __init__(self, guard: Guard, inner: httpx.AsyncBaseTransport) -> None:
        self._guard = guard
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Tries the judged addresses in their order until one takes the connection."""
        addresses = await self._guard.addresses(request.url)
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_pinned(request, addresses[-1]))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    # The Host header was set from the original URL when the request was built, and stays.
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
    )


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that every guarded client trusts, read once."""
    return httpx.create_ssl_context(trust_env=False)


def pinned_client(guard: Guard, *, connect_timeout_s: float, timeout_s: float) -> httpx.AsyncClient:
    """A client that goes only where the guard lets it, follows nothing and reads no proxy settings.

    No connection is kept: the next request to the same address may come under another name, and a TLS
    connection is proven for one name only.
    """
    inner = httpx.AsyncHTTPTransport(
        verify=_trusted(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
    )
    return httpx.AsyncClient(
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # receivers leave nothing with us
        transport=PinnedTransport(guard, inner),
        timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s),
        follow_redirects=False,
        trust_env=False,
    )
