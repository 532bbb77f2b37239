"""No call for a stranger reaches what only we can reach, by whatever name it is asked to."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from rig.certificates import certificate

from service.ssrf import AddressRefused, Guard, NameUnresolved, PinnedTransport, is_public, origin_of

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111"]
PUBLIC += ["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]  # as public as the IPv4 that they carry
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # cloud metadata
    "100.64.0.1",  # carrier-grade NAT
    "100.100.100.200",  # metadata of one cloud
    "168.63.129.16",  # public by number, the host's own service on Azure
    "192.0.0.8",
    "192.88.99.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",  # metadata over IPv6
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))


def names(**hosts: list[str]):
    """A resolver of these hosts, with the number of times it was asked."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        if host not in hosts:
            raise OSError("no such name")
        return hosts[host]

    return resolve, asked


LOOPBACK_FORMS = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST:8000/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://0/",
    "http://2852039166/",  # 169.254.169.254
    "https://user:password@127.0.0.1/",
    "http://127.0.0.1\u3002/",
]


@pytest.mark.parametrize("url", LOOPBACK_FORMS)
async def test_every_form_of_a_private_address_is_refused(url: str) -> None:
    """By the system's own resolver, which is the one that knows all these forms."""
    with pytest.raises((AddressRefused, NameUnresolved, httpx.InvalidURL)):
        await Guard().addresses(httpx.URL(url))


#: But those that no URL may have, which are refused as such.
READABLE_FORMS = [url for url in LOOPBACK_FORMS if "0177" not in url and "\u3002" not in url]


@pytest.mark.parametrize("url", [*READABLE_FORMS, "http://a.localhost./", "http://10.0.0.1:8000/x"])
def test_what_a_url_itself_says_is_refused_without_asking_anybody(url: str) -> None:
    resolve, asked = names()
    assert Guard(resolve=resolve).refuses_at_sight(httpx.URL(url))
    assert not Guard(allow_private=True, resolve=resolve).refuses_at_sight(httpx.URL(url))
    assert asked == []


@pytest.mark.parametrize(
    "url",
    ["https://example.com/", "http://8.8.8.8/", "http://[2606:4700::1111]/", "http://localhost.example/"],
)
def test_names_and_public_addresses_are_left_to_the_try(url: str) -> None:
    assert not Guard().refuses_at_sight(httpx.URL(url))


@pytest.mark.parametrize(
    "url", ["http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://localhost/"]
)
async def test_those_forms_do_lead_to_loopback(url: str) -> None:
    """So the test above refuses them for where they lead and not because they cannot be read."""
    assert set(await Guard(allow_private=True).addresses(httpx.URL(url))) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "gopher://example.com", "//example.com"]
)
async def test_only_http_and_https_are_called(url: str) -> None:
    resolve, asked = names()
    with pytest.raises(AddressRefused, match="only http and https"):
        await Guard(allow_private=True, resolve=resolve).addresses(httpx.URL(url))
    assert asked == []


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    resolve, _ = names(mixed=["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefused, match=r"'mixed' leads to 10\.0\.0\.1"):
        await Guard(resolve=resolve).addresses(httpx.URL("https://mixed/"))
    assert await Guard(allow_private=True, resolve=resolve).addresses(httpx.URL("https://mixed/")) == [
        "8.8.8.8",
        "10.0.0.1",
    ]


async def test_a_name_without_an_address_may_have_one_later() -> None:
    resolve, _ = names(empty=[])
    for host in ("unknown", "empty"):
        with pytest.raises(NameUnresolved, match=host):
            await Guard(resolve=resolve).addresses(httpx.URL(f"https://{host}/"))
    with pytest.raises(NameUnresolved):
        await Guard().addresses(httpx.URL(f"https://{'a' * 70}.example/"))


async def test_a_rebinding_name_is_asked_once_and_its_judged_address_is_used() -> None:
    """Its second answer would be loopback: nobody hears it."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    connected: list[httpx.Request] = []

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    def take(request: httpx.Request) -> httpx.Response:
        connected.append(request)
        return httpx.Response(200)

    transport = PinnedTransport(Guard(resolve=rebinding), httpx.MockTransport(take))
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.post("https://rebind.example:8443/hook?a=b", content=b"body")
        assert response.status_code == 200
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.1"):
            await client.post("https://rebind.example:8443/hook?a=b", content=b"body")
    (request,) = connected
    assert str(request.url) == "https://8.8.8.8:8443/hook?a=b"
    assert request.headers["host"] == "rebind.example:8443"
    assert request.extensions["sni_hostname"] == "rebind.example"
    assert request.content == b"body"


async def test_an_international_name_is_asked_for_as_it_is_written() -> None:
    """Decoded and encoded again by other rules it would be fass.de, somebody else's host."""
    resolve, asked = names(**{"xn--fa-hia.de": ["8.8.8.8"]})
    connected: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        connected.append(request)
        return httpx.Response(200)

    transport = PinnedTransport(Guard(resolve=resolve), httpx.MockTransport(take))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post("https://xn--fa-hia.de/hook")
    assert asked == ["xn--fa-hia.de"]
    assert connected[0].extensions["sni_hostname"] == "xn--fa-hia.de"


async def test_the_next_address_is_tried_when_one_takes_no_connection() -> None:
    resolve, _ = names(twin=["2606:4700::1111", "8.8.8.8"])
    asked: list[str] = []

    def only_ipv4(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if ":" in request.url.host:
            raise httpx.ConnectError("no route")
        return httpx.Response(200)

    transport = PinnedTransport(Guard(resolve=resolve), httpx.MockTransport(only_ipv4))
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.post("https://twin/hook")).status_code == 200
    assert asked == ["2606:4700::1111", "8.8.8.8"]


@contextmanager
def tls_server(made: Path, key: Path) -> Iterator[int]:
    """Answers 204 to anybody whose handshake comes through; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = server.accept()
                    with suppress(OSError), context.wrap_socket(taken, server_side=True) as connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(30)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_tls_proves_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    """The certificate is held against the name in the URL: a resolver that lies gains nothing."""
    made, key = certificate(tmp_path, "pictures.example")
    trusting = ssl.create_default_context(cafile=str(made))
    resolve, _ = names(**{"pictures.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    transport = PinnedTransport(
        Guard(allow_private=True, resolve=resolve), httpx.AsyncHTTPTransport(verify=trusting, trust_env=False)
    )
    with tls_server(made, key) as port:
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            answer = await client.get(f"https://pictures.example:{port}/")
            assert answer.status_code == 204
            with pytest.raises(httpx.ConnectError, match=r"other\.example"):
                await client.get(f"https://other.example:{port}/")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.com/a?b", "https://example.com:443"),
        ("http://example.com", "http://example.com:80"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("https://[::1]:9000/", "https://[::1]:9000"),
    ],
)
def test_an_origin_is_written_out(url: str, origin: str) -> None:
    assert origin_of(httpx.URL(url)) == origin
