"""`webhook_events`: of what the URL of one request hears, however the wish is sent, and what inherits it."""

import json
from typing import Any

import openai
import pytest

URL = "https://example.com/hook"
WISH = ["video.completed", "video.failed"]


def listed(site: Any, video_id: str) -> list[str]:
    told: list[str] = site.client.get(f"/videos/{video_id}").json()["webhook_events"]
    return told


def test_it_is_the_same_wish_as_json_and_in_each_way_of_a_form(site: Any) -> None:
    key = {"idempotency-key": "one"}
    whole = {"prompt": "x", "webhook_url": URL}
    first = site.client.post("/videos", json={**whole, "webhook_events": [*WISH, WISH[0]]}, headers=key)
    parts = [(name, (None, text)) for name, text in whole.items()]
    as_text = [*parts, ("webhook_events", (None, json.dumps(WISH)))]
    in_brackets = [*parts, *(("webhook_events[]", (None, event)) for event in WISH)]
    again = [site.client.post("/videos", files=form, headers=key) for form in (as_text, in_brackets)]
    assert [answer.status_code for answer in (first, *again)] == [202, 200, 200]
    assert first.json()["webhook_events"] == WISH == listed(site, again[0].json()["id"])


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_openais_client_sends_it_with_a_picture_or_without(site: Any, png: Any) -> None:
    own = {"webhook_url": URL, "webhook_events": WISH}
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="unused") as client:
        plain = client.videos.create(prompt="x", extra_body=own)
        pictured = client.videos.create(
            prompt="x", input_reference=("a.png", png(), "image/png"), extra_body=own
        )
    assert listed(site, plain.id) == listed(site, pictured.id) == WISH


@pytest.mark.parametrize(
    "fields",
    [
        {"webhook_url": URL, "webhook_events": "video.completed"},
        {"webhook_url": URL, "webhook_events": "{"},
        {"webhook_url": URL, "webhook_events": ["video.queued"]},
        {"webhook_url": URL, "webhook_events": ["webhook_endpoint.disabled"]},
        {"webhook_url": URL, "webhook_events": [["video.completed"]]},
        {"webhook_url": URL, "webhook_events": {"video.completed": True}},
        {"webhook_events": WISH},
    ],
)
def test_what_cannot_be_told_is_named(site: Any, fields: dict[str, Any]) -> None:
    problem = site.problem(422, site.client.post("/videos", json={"prompt": "x", **fields}))
    assert [fault["field"] for fault in problem["errors"]] == ["webhook_events"]


def test_none_named_is_all_of_them(site: Any) -> None:
    assert site.create(webhook_url=URL, webhook_events=[])["webhook_events"] == []
    assert site.create(webhook_url=URL)["webhook_events"] == []


def test_a_video_made_of_another_keeps_it_unless_told_otherwise(site: Any) -> None:
    site.create(webhook_url=URL, webhook_events=WISH)
    old = site.worker.render()

    def made(route: str, **fields: Any) -> list[str]:
        answer = site.client.post(f"/videos/{old}/{route}", json=fields)
        assert answer.status_code == 202, answer.text
        told: list[str] = answer.json()["webhook_events"]
        return told

    assert made("remix", prompt="y") == made("reproduce") == WISH
    assert made("remix", prompt="y", webhook_events=WISH[:1]) == WISH[:1]
    assert made("reproduce", webhook_events=[]) == []


def test_a_repetition_without_a_url_has_nobody_to_tell(site: Any) -> None:
    site.create()
    old = site.worker.render()
    answer = site.client.post(f"/videos/{old}/reproduce", json={"webhook_events": WISH})
    assert [fault["field"] for fault in site.problem(422, answer)["errors"]] == ["webhook_events"]


def test_a_job_of_before_there_was_such_a_wish_tells_everything(site: Any) -> None:
    """Its record has no such field, and its request neither."""
    video = site.create(webhook_url=URL, webhook_events=WISH)["id"]
    job = f"{{mc}}:job:{video}"
    request = json.loads(site.redis.hget(job, "request"))
    del request["webhook_events"]
    site.redis.hset(job, "request", json.dumps(request))
    site.redis.hdel(job, "webhook_events")
    assert listed(site, video) == []
    site.client.post(f"/videos/{video}/cancel")
    (entry,) = (fields for _, fields in site.redis.xrange("{mc}:outbox"))
    assert (entry[b"type"], entry[b"url"]) == (b"video.cancelled", URL.encode())


@pytest.mark.parametrize(
    "url", ["http://localhost:3000/hook", "http://127.0.0.1/", "http://0x7f.1/", "https://[::ffff:10.0.0.1]/"]
)
def test_a_url_that_will_never_be_called_is_no_promise(site: Any, start_gateway: Any, url: str) -> None:
    site.create()
    video = site.worker.render()
    for route, body in (
        ("/videos", {"prompt": "x"}),
        (f"/videos/{video}/remix", {"prompt": "x"}),
        (f"/videos/{video}/reproduce", {}),
    ):
        (fault,) = site.problem(422, site.client.post(route, json={**body, "webhook_url": url}))["errors"]
        assert (fault["field"], "WEBHOOK_ALLOW_PRIVATE" in fault["bound"]) == ("webhook_url", True)
    answer = site.client.post("/predictions", json={"input": {"prompt": "x"}, "webhook": url})
    assert site.problem(422, answer)["error"]["param"] == "webhook_url"
    closed_network = start_gateway(webhook_allow_private=True)
    assert closed_network.create(webhook_url=url)["webhook_url"] == url
