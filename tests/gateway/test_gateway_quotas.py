"""A used quota over HTTP: what the answer says, and that no library repeats it."""

import re

import openai
import pytest

from service.cli.main import main
from service.contracts.api_key import Scope
from service.contracts.quota import Quota, QuotaReached
from service.store.api_keys import KeyStore
from service.store.script import Store

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
ASKED = {"prompt": "a red circle moves left"}


def test_a_used_quota_says_which_how_much_and_until_when(empty_record, start_gateway):
    site = start_gateway(quota_requests=1, quota_window_s=3600)
    site.worker.announce()
    site.create()
    answer = site.client.post("/videos", json=ASKED)
    problem = site.problem(429, answer)
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "retry-after-ms" not in answer.headers
    assert (problem["quota"], problem["used"], problem["limit"]) == ("requests", 1, 1)
    assert problem["resets_at"] % 3600 == 0
    assert problem["error"]["code"] == "insufficient_quota"
    assert problem["error"]["type"] == "rate_limit_error"


def test_other_problems_do_not_speak_of_quotas(site):
    problem = site.problem(404, site.client.get("/videos/video_none"))
    assert not {"quota", "used", "limit", "resets_at"} & set(problem)
    assert problem["error"]["param"] == "video_id"


def test_measured_seconds_are_told_to_a_tenth():
    told = QuotaReached(Quota.GPU_SECONDS, used=52.428123, limit=60.0, wanted=12.345678, resets_at=None).told
    assert re.findall(r"[\d.]+", told) == ["12.3", "52.4", "60"]


def test_openais_client_gives_up_at_once(empty_record, start_gateway):
    site = start_gateway(quota_concurrent_jobs=0)
    site.worker.announce()
    with (
        openai.OpenAI(base_url=f"{site.url}/v1", api_key="any", max_retries=5) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.videos.create(prompt="a red circle moves left", model="micro")
    assert caught.value.code == "insufficient_quota"
    page = site.client.get("/metrics").text
    (asked,) = re.findall(r'^microcinema_http_requests_total\{.*status="429"\} (\S+)$', page, re.M)
    assert float(asked) == 1


def test_an_operator_sets_what_one_owner_may_use(empty_record, redis_url, start_gateway, monkeypatch, capsys):
    monkeypatch.setenv("REDIS_URL", redis_url)
    site = start_gateway(require_keys=True, quota_requests=0)
    site.worker.announce()
    secret = KeyStore(Store(site.redis)).create("acme", {Scope.READ, Scope.WRITE})[1]
    headers = {"authorization": f"Bearer {secret}"}
    site.problem(429, site.client.post("/videos", json=ASKED, headers=headers))
    assert main(["tenant", "quota", "acme", "--requests", "2", "--gpu-seconds", "none"]) == 0
    assert site.client.post("/videos", json=ASKED, headers=headers).status_code == 202
    assert main(["tenant", "quota"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("acme  requests 1 of 2  concurrent jobs 1 of default  gpu seconds ")
    assert line.endswith(" of none")
    assert main(["tenant", "quota", "acme", "--requests", "1.5"]) == 2
    assert main(["tenant", "quota", "--requests", "1"]) == 2
    assert "name the tenant" in capsys.readouterr().err
