"""Webhook endpoints over HTTP: the secret once, owners apart, bounds named, and what was sent."""

import pytest

from service.api.webhooks import LATEST
from service.contracts.api_key import Scope
from service.store.api_keys import KeyStore
from service.store.deliveries import DeliveryStore, Settlement, Verdict
from service.store.script import Store

URL = "https://receiver.example/hook"


@pytest.fixture
def add(site):
    def added(**fields):
        answer = site.client.post("/webhook_endpoints", json={"url": URL, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return added


@pytest.fixture
def deliveries(site):
    return DeliveryStore(Store(site.redis))


def settle(deliveries, outcome):
    """Every delivery that is due gets this outcome."""
    deliveries.relay()
    for each in deliveries.take(100, 60.0, 100, {}):
        deliveries.settle(each.id, each.tries, outcome, 1000.0)


def test_a_secret_is_shown_once(site, add):
    made = add(description="orders", events=["video.completed"])
    assert made["secret"].startswith("whsec_")
    assert (made["enabled"], made["events"], made["description"]) == (True, ["video.completed"], "orders")
    path = f"/webhook_endpoints/{made['id']}"
    shown = site.client.get(path).json()
    assert shown == {name: value for name, value in made.items() if name not in ("secret", "signing_secret")}
    assert site.client.get("/webhook_endpoints").json()["data"] == [shown]
    rotated = site.client.post(f"{path}/rotate", params={"overlap_s": 60}).json()
    assert rotated["secret"] not in (made["secret"], "")
    assert rotated["old_secret_until"] is not None
    whole = site.client.get(path).text + site.client.get("/v1/webhook_endpoints").text
    assert "whsec_" not in whole


def test_an_endpoint_is_changed_and_deleted(site, add):
    path = f"/webhook_endpoints/{add()['id']}"
    changed = site.client.patch(path, json={"enabled": False, "events": ["video.failed"], "description": "x"})
    assert changed.status_code == 200, changed.text
    body = changed.json()
    assert (body["enabled"], body["disabled_reason"], body["events"]) == (False, "owner", ["video.failed"])
    assert site.problem(409, site.client.post(f"{path}/redeliver"))["code"] == "webhook_endpoint_disabled"
    assert site.client.patch(path, json={"events": [], "enabled": True}).json()["events"] == []
    assert site.client.delete(path).json()["deleted"] is True
    for answer in (site.client.get(path), site.client.delete(path), site.client.patch(path, json={})):
        assert site.problem(404, answer)["code"] == "unknown_webhook_endpoint"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://receiver.example"}, "url"),
        ({"url": "http://127.0.0.1/hook"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://0x7f000001/"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": URL, "events": ["video.queued"]}, "events"),
        ({"url": URL, "events": [["video.failed"]]}, "events"),
        ({"url": URL, "events": "video.failed"}, "events"),
        ({"url": URL, "description": "x" * 201}, "description"),
        ({"url": URL, "secret": "mine"}, "secret"),
        ({"url": URL, "events": [], "event_types": ["video.failed"]}, "event_types"),
        ({"url": URL, "description": "a", "name": "b"}, "name"),
        ({"url": URL, "event_types": ["batch.completed"]}, "event_types"),
    ],
)
def test_a_bound_is_named(site, body, field):
    problem = site.problem(422, site.client.post("/webhook_endpoints", json=body))
    assert [fault["field"] for fault in problem["errors"]] == [field]


def test_a_long_description_is_told_how_long_one_may_be(site):
    problem = site.problem(
        422, site.client.post("/webhook_endpoints", json={"url": URL, "description": "x" * 201})
    )
    assert "description must be at most 200 characters" in problem["detail"]


def test_a_refusal_does_not_tell_what_a_name_resolves_to(site):
    answer = site.client.post("/webhook_endpoints", json={"url": "http://localhost/hook"})
    assert site.problem(422, answer)["errors"][0]["field"] == "url"
    assert "127.0.0.1" not in answer.text
    assert "::1" not in answer.text


def test_a_change_is_judged_like_a_new_one(site, add):
    path = f"/webhook_endpoints/{add()['id']}"
    for body in ({"url": "http://10.0.0.1/"}, {"enabled": "yes"}, {"enabled": 1}):
        assert site.problem(422, site.client.patch(path, json=body))["code"] == "invalid_fields"
    form = site.client.post("/webhook_endpoints", files={"url": (None, URL)})
    assert site.problem(415, form)["code"] == "unsupported_body"
    for query in ("overlap_s=-1", "overlap_s=604801", "overlap_s=soon"):
        site.problem(422, site.client.post(f"{path}/rotate?{query}"))
    for query in ("since=nan", "since=10&until=5", "until=-1", f"until={LATEST * 10}", "only_failed=perhaps"):
        site.problem(422, site.client.post(f"{path}/redeliver?{query}"))


def test_an_owner_has_ten(site, add):
    for _ in range(10):
        add()
    answer = site.client.post("/webhook_endpoints", json={"url": URL})
    assert site.problem(409, answer)["code"] == "too_many_webhook_endpoints"


def test_what_was_sent_is_listed_and_sent_again(site, add, deliveries):
    made = add()
    path = f"/webhook_endpoints/{made['id']}"
    video_id = site.create(webhook_url="https://own.example/hook")["id"]
    site.worker.render()
    settle(deliveries, Settlement(Verdict.DEAD, "HTTP 500: no", 500))
    of_video = site.client.get(f"/videos/{video_id}/deliveries").json()["data"]
    assert len(of_video) == 4, "started and completed, to the URL of the request and to the endpoint"
    assert len({each["id"] for each in of_video}) == 4
    page = site.client.get(f"{path}/deliveries", params={"limit": 1}).json()
    assert page["has_more"] is True
    assert page["data"][0]["log"][0] | {"at": 0} == {
        "number": 1,
        "at": 0,
        "verdict": "dead",
        "status": 500,
        "reason": "HTTP 500: no",
    }
    rest = site.client.get(f"{path}/deliveries", params={"after": page["data"][0]["id"]}).json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    site.problem(422, site.client.get(f"{path}/deliveries", params={"after": "evt_of_nobody"}))
    mine = next(each for each in of_video if each["endpoint_id"] is None)
    again = site.client.post(f"/webhook_deliveries/{mine['id']}/redeliver")
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, mine["id"], "waiting")
    assert site.client.post(f"{path}/redeliver").json() == {"redelivered": 2}
    assert len(deliveries.take(100, 60.0, 100, {})) == 3


def test_a_ping_is_logged(site, add, deliveries):
    path = f"/webhook_endpoints/{add(events=['video.failed'])['id']}"
    sent = site.client.post(f"{path}/test")
    assert (sent.status_code, sent.json()["type"]) == (202, "webhook_endpoint.ping")
    settle(deliveries, Settlement(Verdict.DELIVERED, "delivered", 200))
    (logged,) = site.client.get(f"{path}/deliveries").json()["data"]
    assert (logged["id"], logged["state"]) == (sent.json()["id"], "delivered")


def test_owners_see_nothing_of_each_other(empty_record, start_gateway):
    site = start_gateway(require_keys=True)
    site.worker.announce()
    keys = KeyStore(Store(site.redis))
    acme, other = (
        {"authorization": f"Bearer {keys.create(owner, {Scope.READ, Scope.WRITE})[1]}"}
        for owner in ("acme", "other")
    )
    made = site.client.post("/webhook_endpoints", json={"url": URL}, headers=acme).json()
    path = f"/webhook_endpoints/{made['id']}"
    video = site.client.post("/videos", json={"prompt": "a red circle"}, headers=acme).json()["id"]
    ping = site.client.post(f"{path}/test", headers=acme).json()["id"]
    calls = [
        ("GET", path),
        ("PATCH", path),
        ("POST", f"{path}/rotate"),
        ("POST", f"{path}/test"),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/redeliver"),
        ("DELETE", path),
        ("GET", f"/videos/{video}/deliveries"),
        ("POST", f"/webhook_deliveries/{ping}/redeliver"),
    ]
    for method, asked in calls:
        body = {"url": "http://10.0.0.1/"} if method == "PATCH" else None
        strange = site.client.request(method, asked, json=body, headers=other)
        assert site.problem(404, strange)["code"].startswith("unknown_"), (method, asked)
    assert site.client.get("/webhook_endpoints", headers=other).json()["data"] == []
    assert site.client.get(path, headers=acme).json()["old_secret_until"] is None
    assert len(site.client.get(f"{path}/deliveries", headers=acme).json()["data"]) == 1
