"""What browsers of other sites may do, and what every answer tells a browser."""

import pytest

from service.browsers import POLICY, read_origins
from service.contracts.environment import UnusableSettings, read_settings
from service.settings import GatewaySettings

APP = "https://app.example"
PREFLIGHT = {
    "origin": APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,idempotency-key,x-stainless-retry-count",
}


@pytest.fixture
def shared(empty_record, start_gateway):
    """Keys are required; one other site may ask."""
    return start_gateway(require_keys=True, cors_origins=APP)


def test_a_preflight_needs_no_key_and_is_told_what_may_be_sent(shared):
    answer = shared.client.options("/videos", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert {"POST", "DELETE", "PATCH"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in PREFLIGHT["access-control-request-headers"].split(","))
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_reads_errors_too_and_the_headers_it_needs(shared):
    answer = shared.client.get("/videos", headers={"origin": APP})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == APP
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {"Location", "Retry-After", "RateLimit", "RateLimit-Policy"} <= exposed
    assert {"X-Request-Id", "ETag", "Content-Range"} <= exposed


def test_no_other_site_may(shared):
    other = {"origin": "https://other.example"}
    preflight = shared.client.options("/videos", headers=PREFLIGHT | other)
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in shared.client.get("/livez", headers=other).headers


def test_by_default_nobody_may(site):
    assert "access-control-allow-origin" not in site.client.get("/livez", headers={"origin": APP}).headers
    assert site.client.options("/videos", headers=PREFLIGHT).status_code == 405


def test_every_answer_has_its_policy(site):
    for path in ("/videos", "/nowhere", "/livez", "/openapi.json"):
        assert site.client.get(path).headers["content-security-policy"] == POLICY
    for path in ("/", "/playground/app.js", "/docs", "/docs/"):
        policy = site.client.get(path).headers["content-security-policy"]
        assert policy != POLICY
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
    assert "strict-transport-security" not in site.client.get("/").headers


def test_https_alone_is_asked_for_by_setting(empty_record, start_gateway):
    site = start_gateway(hsts_s=31_536_000)
    assert site.client.get("/livez").headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "text",
    [
        *("app.example", "https://app.example/", "https://app.example/x", "ftp://app.example", "https://"),
        *("https://App.example", "https://app.example:443", "https://me@app.example", "https://a:x", "null"),
        "* https://app.example",
    ],
)
def test_what_no_browser_would_send_as_origin_is_refused(text, monkeypatch):
    monkeypatch.setenv("MICROCINEMA_CORS_ORIGINS", text)
    with pytest.raises(UnusableSettings, match=r"MICROCINEMA_CORS_ORIGINS must be .*got"):
        read_settings(GatewaySettings)


def test_origins_are_read_as_browsers_write_them():
    origins = ("https://app.example", "http://localhost:5173", "http://[::1]:8080")
    assert read_origins("  ".join(origins)) == origins
    assert (read_origins(""), read_origins("*")) == ((), ("*",))
