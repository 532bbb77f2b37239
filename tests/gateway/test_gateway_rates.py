"""Rate limits over HTTP: who is counted, what every answer says, and that a library's retry gets through."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from service.contracts.api_key import Scope
from service.contracts.environment import UnusableSettings, read_settings
from service.contracts.keys import REDIS_KEYS
from service.rates import rates_for, read_rates
from service.settings import GatewaySettings
from service.store.api_keys import KeyStore
from service.store.audit import Audit
from service.store.script import Store

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


def standing(answer: httpx.Response) -> tuple[int, int, int]:
    """Requests in the window, requests left, seconds until one more is."""
    policy = re.fullmatch(r'"60s";q=(\d+);w=60', answer.headers["ratelimit-policy"])
    left = re.fullmatch(r'"60s";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    return int(policy[1]), int(left[1]), int(left[2])


def test_every_answer_says_how_many_are_left_and_a_refusal_when_to_come_back(empty_record, start_gateway):
    site = start_gateway(rate_limits="3/minute")
    paths = ["/videos", "/videos/video_none", "/nowhere"]  # an error counts, and says so, like any other
    assert [standing(site.client.get(path))[:2] for path in paths] == [(3, 2), (3, 1), (3, 0)]
    answer = site.client.get("/videos")
    problem = site.problem(429, answer)
    assert problem["error"]["code"] == "rate_limit_exceeded"
    assert problem["error"]["type"] == "rate_limit_error"
    assert "quota" not in problem
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["retry-after-ms"] == answer.headers["retry-after"] + "000"
    assert answer.headers["x-should-retry"] == "true"
    assert standing(answer) == (3, 0, int(answer.headers["retry-after"]))


def test_what_is_open_to_everybody_is_never_counted(empty_record, start_gateway):
    site = start_gateway(rate_limits="1/minute")
    site.client.get("/videos")
    assert site.client.get("/videos").status_code == 429
    for path in ("/livez", "/metrics", "/", "/openapi.json"):
        answer = site.client.get(path)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers


def test_each_key_is_counted_by_itself(empty_record, start_gateway):
    site = start_gateway(rate_limits="1/minute", require_keys=True)
    secrets = [KeyStore(Store(site.redis)).create("acme", {Scope.READ})[1] for _ in range(2)]
    seen = [
        site.client.get("/videos", headers={"authorization": f"Bearer {secret}"}).status_code
        for secret in (*secrets, *secrets)
    ]
    assert seen == [200, 200, 429, 429]
    answer = site.client.get("/videos")  # without a key there is nobody to count
    assert (answer.status_code, "ratelimit" in answer.headers) == (401, False)


def test_the_shorter_of_two_rates_is_asked_first(empty_record, start_gateway):
    site = start_gateway(rate_limits="50/minute;2/hour")
    for _ in range(2):
        assert site.client.get("/videos").status_code == 200
    answer = site.client.get("/videos")
    assert site.problem(429, answer)["detail"].startswith("2 requests in 3600 seconds are allowed")
    assert answer.headers["ratelimit-policy"] == '"60s";q=50;w=60, "3600s";q=2;w=3600'


def test_openais_client_waits_as_told_and_gets_through(empty_record, start_gateway):
    site = start_gateway(rate_limits="1 per 2 second")
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="any") as client:
        for _ in range(2):
            assert client.videos.list().data == []
    page = site.client.get("/metrics").text
    assert re.search(r'^microcinema_http_requests_total\{.*status="429"\} [1-9]', page, re.M)


def test_without_redis_nobody_is_let_in_uncounted(start_gateway):
    site = start_gateway(gateway_redis="redis://127.0.0.1:1/0", rate_limits="5/minute")
    assert site.problem(503, site.client.get("/nowhere"))["code"] == "record_unavailable"


def test_what_is_counted_runs_out_by_itself(empty_record, start_gateway):
    site = start_gateway(rate_limits="5/minute")
    site.client.get("/videos")
    (key,) = site.redis.keys(REDIS_KEYS["RATES"] + "*")
    assert 0 < site.redis.ttl(key) <= 60
    assert Audit(site.redis, pause=lambda _: None).orphans() == []


def test_loopback_counts_nobody_and_other_addresses_do():
    assert rates_for(None, "127.0.0.1") == rates_for("", "::1") == ()
    (public,) = rates_for(None, "0.0.0.0")
    assert (public.amount, public.get_expiry()) == (1200, 60)
    assert rates_for("none", "0.0.0.0") == ()


@pytest.mark.parametrize("text", ["often", "5/fortnight", "0/minute", "/minute", ";"])
def test_a_rate_that_is_none_is_named(text, monkeypatch):
    with pytest.raises(ValueError, match="got"):
        read_rates(text)
    monkeypatch.setenv("MICROCINEMA_RATE_LIMITS", text)
    with pytest.raises(UnusableSettings, match="MICROCINEMA_RATE_LIMITS"):
        read_settings(GatewaySettings)


def test_scripts_that_the_server_forgot_are_sent_again(empty_record, start_gateway):
    site = start_gateway(rate_limits="4/minute")
    assert standing(site.client.get("/videos"))[:2] == (4, 3)
    site.redis.script_flush()
    assert [standing(site.client.get("/videos"))[1] for _ in range(2)] == [2, 1]


def test_one_callers_many_requests_at_once_are_counted_one_by_one(empty_record, start_gateway):
    site = start_gateway(rate_limits="20/minute")
    with ThreadPoolExecutor(12) as at_once:
        answers = list(at_once.map(lambda _: site.client.get("/videos"), range(30)))
    assert sorted(answer.status_code for answer in answers) == [200] * 20 + [429] * 10
