"""API keys over HTTP: who may do what, and that nobody sees what is another's."""

import socket
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from service.auth import OPEN_PATHS, is_loopback
from service.cli.main import main
from service.client import Client
from service.contracts.api_key import Scope
from service.main import NoKeys, keys_required, prepare_keys
from service.settings import GatewaySettings
from service.store.api_keys import KeyStore
from service.store.script import Store

BOTH = {Scope.READ, Scope.WRITE}


@pytest.fixture
def locked(empty_record, start_gateway):
    site = start_gateway(require_keys=True)
    site.worker.announce()
    return site


@pytest.fixture
def visitor(locked):
    """`visitor(owner, scopes)`: the headers of a new key."""

    def make(owner, scopes=BOTH):
        return {"authorization": f"Bearer {KeyStore(Store(locked.redis)).create(owner, scopes)[1]}"}

    return make


def create(site, headers):
    answer = site.client.post("/videos", json={"prompt": "a red circle moves left"}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


CALLS = [
    ("POST", "/videos"),
    ("GET", "/videos"),
    ("GET", "/videos/{id}"),
    ("HEAD", "/videos/{id}"),
    ("GET", "/videos/{id}/content"),
    ("POST", "/videos/{id}/cancel"),
    ("DELETE", "/videos/{id}"),
    ("GET", "/models"),
    ("GET", "/no/such/path"),
    ("OPTIONS", "/videos"),
]


NO_KEYS = (None, "", "Bearer", "Bearer unused", "Basic dXNlcjpwYXNz", "mck_x", "Bearer " + "x" * 4000)


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("authorization", NO_KEYS)
def test_nothing_opens_without_a_good_key(locked, prefix, authorization):
    headers = {} if authorization is None else {"authorization": authorization}
    for method, path in CALLS:
        asked = prefix + path.format(id="video_" + "0" * 32)
        answer = locked.client.request(method, asked, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="microcinema"')
        assert answer.headers["x-should-retry"] == "false"
        if method != "HEAD":
            assert locked.problem(401, answer)["error"]["type"] == "invalid_request_error"


def test_a_body_is_not_read_for_somebody_without_a_key(locked):
    """The answer is there before a byte of the body is: whoever reads waits for it, and answers 408."""
    address = urlsplit(locked.url)
    head = (
        "POST /videos HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_probes_and_the_reference_stay_open(locked):
    for path in OPEN_PATHS:
        assert locked.client.get(path).status_code == 200, path


@pytest.mark.parametrize("path", ["//videos", "/livez/../videos", "/artifacts/../videos", "/%2e/videos"])
def test_no_way_of_writing_a_path_leads_round_the_gate(locked, path, visitor):
    create(locked, visitor("acme"))
    with closing(HTTPConnection(locked.url.removeprefix("http://"), timeout=20)) as raw:
        raw.request("GET", path)  # httpx would tidy the path up
        answer = raw.getresponse()
        assert answer.status in (401, 404, 422)
        assert b"video_" not in answer.read()


def test_scopes_are_kept(locked, visitor):
    reader, writer = visitor("acme", {Scope.READ}), visitor("acme", {Scope.WRITE})
    video = create(locked, writer)
    assert locked.client.get(f"/videos/{video}", headers=reader).status_code == 200
    for method, path in (
        ("POST", "/videos"),
        ("POST", f"/videos/{video}/cancel"),
        ("DELETE", f"/videos/{video}"),
    ):
        problem = locked.problem(403, locked.client.request(method, path, headers=reader))
        assert "needs the scope write" in problem["detail"]
    refused = locked.client.get(f"/videos/{video}", headers=writer)
    assert "needs the scope read" in locked.problem(403, refused)["detail"]
    assert 'scope="read"' in refused.headers["www-authenticate"]


def test_a_strangers_video_is_one_that_never_was(locked, visitor):
    ours, theirs = visitor("acme"), visitor("zenith")
    video = create(locked, ours)
    locked.worker.render()
    for method, path in (
        ("GET", "/videos/{id}"),
        ("GET", "/videos/{id}/content"),
        ("GET", "/videos/{id}/content?variant=image"),
        ("GET", "/videos/{id}/content?variant=thumbnail"),
        ("POST", "/videos/{id}/cancel"),
        ("DELETE", "/videos/{id}"),
    ):
        never = "video_" + "0" * 32
        real = locked.problem(404, locked.client.request(method, path.format(id=video), headers=theirs))
        none = locked.problem(404, locked.client.request(method, path.format(id=never), headers=theirs))
        assert real["detail"].replace(video, never) == none["detail"]
    assert locked.client.get("/videos", headers=theirs).json()["data"] == []
    assert locked.client.get(f"/videos?after={video}", headers=theirs).status_code == 422
    assert [each["id"] for each in locked.client.get("/videos", headers=ours).json()["data"]] == [video]
    assert locked.client.get(f"/videos/{video}/content", headers=ours).status_code == 200


def test_what_is_found_by_contents_is_found_among_ones_own(locked, visitor):
    ours, theirs = visitor("acme"), visitor("zenith")
    wish = {"prompt": "a red ball", "metadata": {"order": "7"}}
    first = locked.client.post("/videos", json=wish, headers=ours | {"x-stainless-retry-count": "0"}).json()
    repeat = locked.client.post("/videos", json=wish, headers=theirs | {"x-stainless-retry-count": "1"})
    assert (repeat.status_code, repeat.json()["id"] != first["id"]) == (202, True)  # not the stranger's job
    found = locked.client.get("/videos", params={"metadata[order]": "7"}, headers=ours).json()["data"]
    assert [each["id"] for each in found] == [first["id"]]
    remix = locked.client.post(f"/videos/{first['id']}/remix", json={"prompt": "a ring"}, headers=theirs)
    assert locked.problem(404, remix)["code"] == "unknown_video"


def test_an_idempotency_key_belongs_to_its_owner(locked, visitor):
    first, second = (
        create(locked, visitor(owner) | {"idempotency-key": "same"}) for owner in ("acme", "zenith")
    )
    assert first != second


def test_the_owner_is_the_tenant_of_the_fair_queue(locked, visitor):
    video = create(locked, visitor("acme"))
    assert locked.jobs.get("acme", video) is not None
    assert locked.jobs.get("default", video) is None


def test_only_an_admin_acts_for_another_owner(locked, visitor):
    video = create(locked, visitor("acme"))
    admin, other = visitor("house", {Scope.ADMIN}), visitor("zenith")
    named = {"x-microcinema-owner": "acme"}
    assert locked.client.get(f"/videos/{video}", headers=admin | named).status_code == 200
    assert locked.client.get(f"/videos/{video}", headers=admin).status_code == 404
    assert "scope admin" in locked.problem(403, locked.client.get("/videos", headers=other | named))["detail"]
    assert locked.client.get("/videos", headers=admin | {"x-microcinema-owner": "a/b"}).status_code == 403
    assert locked.client.delete(f"/videos/{video}", headers=admin | named).status_code == 200


def test_a_revoked_key_opens_nothing_from_the_next_request_on(locked):
    keys = KeyStore(Store(locked.redis))
    key_id, secret = keys.create("acme", BOTH)
    headers = {"authorization": f"bearer {secret}"}  # RFC 9110: the scheme's case does not matter
    assert locked.client.get("/videos", headers=headers).status_code == 200
    keys.revoke(key_id)
    assert locked.client.get("/videos", headers=headers).status_code == 401


def test_on_loopback_keys_are_off_and_whatever_a_client_sends_is_let_in(site):
    assert site.client.get("/videos", headers={"authorization": "Bearer unused"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_keys_are_required_wherever_others_can_reach_us(host, alone):
    assert is_loopback(host) is alone
    assert keys_required(GatewaySettings(host=host)) is not alone


def test_a_public_address_without_a_key_is_refused(site):
    keys = KeyStore(Store(site.redis))
    with pytest.raises(NoKeys, match=r"listening on 0\.0\.0\.0 needs an API key.*microcinema keys create"):
        prepare_keys(GatewaySettings(host="0.0.0.0"), keys)
    prepare_keys(GatewaySettings(), keys)
    prepare_keys(GatewaySettings(host="0.0.0.0", bootstrap_key="b" * 32), keys)
    prepare_keys(GatewaySettings(host="0.0.0.0", bootstrap_key="b" * 32), keys)
    (key,) = keys.listed()
    assert (key.owner, key.scopes) == ("default", set(Scope))
    with pytest.raises(ValueError, match="at least 32"):
        GatewaySettings(bootstrap_key="short")


def test_a_revoked_bootstrap_key_stays_revoked_though_it_stays_in_the_settings(locked):
    settings = GatewaySettings(host="0.0.0.0", bootstrap_key="b" * 32)
    keys, headers = KeyStore(Store(locked.redis)), {"authorization": f"Bearer {'b' * 32}"}
    prepare_keys(settings, keys)
    assert locked.client.get("/videos", headers=headers).status_code == 200
    keys.revoke(keys.listed()[0].id)
    with pytest.raises(NoKeys):  # and it is not taken for one
        prepare_keys(settings, keys)
    keys.create("acme", BOTH)
    prepare_keys(settings, keys)
    assert locked.client.get("/videos", headers=headers).status_code == 401


def test_our_client_and_command_send_a_key(locked, visitor, monkeypatch, capsys):
    secret = visitor("acme")["authorization"].removeprefix("Bearer ")
    with Client(locked.url, api_key=secret) as client:
        video = client.create("a red circle moves left").id
    assert main(["status", video, "--url", locked.url]) == 1
    assert "send an API key" in capsys.readouterr().err
    monkeypatch.setenv("MICROCINEMA_API_KEY", secret)
    assert main(["status", video, "--url", locked.url]) == 0
    assert main(["cancel", video, "--url", locked.url]) == 0


@pytest.mark.parametrize("path", ["/videos", "/livez", "/docs", "/no/such/path", "/videos/nonsense"])
def test_every_answer_carries_the_security_headers(site, path):
    headers = site.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
