"""Webhook endpoints by OpenAI's own client, and what its words are in ours."""

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from service.store.deliveries import DeliveryStore, Settlement, Verdict
from service.store.script import Store

URL = "https://receiver.example/hook"


@pytest.fixture
def client(site: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{site.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_an_endpoint_from_its_secret_to_its_deletion(site: Any, client: OpenAI) -> None:
    made = client.webhooks.create(name="orders", url=URL, event_types=["video.completed"])
    assert made.signing_secret.startswith("whsec_")
    assert (made.object, made.name, made.url) == ("webhook_endpoint", "orders", URL)
    assert (made.event_types, type(made.created_at)) == (["video.completed"], int)
    ours = site.client.get(f"/webhook_endpoints/{made.id}").json()
    assert (ours["description"], ours["events"]) == ("orders", ["video.completed"])

    changed = client.webhooks.update(made.id, event_types=["video.failed"])
    assert (changed.event_types, changed.name) == (["video.failed"], "orders")
    assert client.webhooks.retrieve(made.id).event_types == ["video.failed"]
    assert client.webhooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.webhooks.retrieve(made.id)


def test_where_all_events_are_wanted_they_are_written_out(site: Any, client: OpenAI) -> None:
    every = client.webhooks.event_types.list().data
    assert {"video.completed", "video.failed"} <= set(every)
    made = site.client.post("/webhook_endpoints", json={"url": URL}).json()
    assert made["events"] == []
    assert client.webhooks.retrieve(made["id"]).event_types == every


@pytest.mark.parametrize(("kept", "signs_on"), [(True, True), (False, False), (None, False)])
def test_the_old_secret_signs_on_only_where_that_is_asked(
    site: Any, client: OpenAI, kept: bool | None, signs_on: bool
) -> None:
    made = client.webhooks.create(name="", url=URL, event_types=[])
    asked = {} if kept is None else {"keep_old_secret_active_for_24_hours": kept}
    rotated = client.webhooks.rotate_secret(made.id, **asked)
    assert rotated.signing_secret not in ("", made.signing_secret)
    shown = site.client.get(f"/webhook_endpoints/{made.id}").json()
    assert (shown["old_secret_until"] - shown["created_at"] > 86000) is signs_on
    assert (
        site.client.post(f"/webhook_endpoints/{made.id}/rotate_secret").status_code == 200
    )  # no body at all


@pytest.fixture
def notifier(site: Any) -> Iterator[list[Settlement]]:
    """Settles every delivery by these outcomes, the last one for ever, until the test is over."""
    outcomes = [Settlement(Verdict.DELIVERED, "delivered", 204)]
    ended = threading.Event()
    deliveries = DeliveryStore(Store(site.redis))

    def work() -> None:
        while not ended.wait(0.05):
            for each in deliveries.take(10, 60.0, 10, {}):
                deliveries.settle(each.id, each.tries, outcomes[0], 1000.0)

    thread = threading.Thread(target=work)
    thread.start()
    yield outcomes
    ended.set()
    thread.join(20)


def test_a_test_answers_with_what_the_receiver_said(
    site: Any, client: OpenAI, notifier: list[Settlement]
) -> None:
    made = client.webhooks.create(name="", url=URL, event_types=["video.failed"])
    told = client.webhooks.test(made.id, event_type="video.completed")
    assert (told.status_code, told.success, told.webhook_endpoint_id) == (204, True, made.id)
    assert told.event_type == "webhook_endpoint.ping"
    notifier[:] = [Settlement(Verdict.DEAD, "HTTP 500: no", 500)]
    assert client.webhooks.test(made.id, event_type="video.failed").status_code == 500
    waited = site.client.post(f"/webhook_endpoints/{made.id}/test", headers={"prefer": "wait=20"})
    assert (waited.status_code, waited.json()["log"][0]["status"]) == (200, 500)


def test_a_test_that_nobody_waits_for_or_that_comes_to_nothing_says_so(site: Any) -> None:
    """There is no notifier here."""
    made = site.client.post("/webhook_endpoints", json={"url": URL}).json()["id"]
    for headers in ({}, {"prefer": "wait=0"}):
        answer = site.client.post(f"/webhook_endpoints/{made}/test", headers=headers)
        told = answer.json()
        assert (answer.status_code, told["state"]) == (202, "waiting")
        assert (told["status_code"], told["success"]) == (None, False)


def test_lists_have_pages(site: Any, client: OpenAI) -> None:
    ids = [client.webhooks.create(name="", url=URL, event_types=[]).id for _ in range(5)]
    assert [each.id for each in client.webhooks.list(limit=2)] == ids
    page = site.client.get("/webhook_endpoints", params={"limit": 2, "after": ids[0]}).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[1:3], True)
    assert (page["first_id"], page["last_id"]) == (ids[1], ids[2])
    strange = site.client.get("/webhook_endpoints", params={"after": "we_of_nobody"})
    assert site.problem(422, strange)["error"]["param"] == "after"


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("", {"event_types": ["batch.completed"]}, "event_types"),
        ("", {"events": ["video.failed"], "event_types": ["video.failed"]}, "event_types"),
        ("", {"name": "x" * 201}, "name"),
        ("/rotate_secret", {"keep_old_secret_active_for_24_hours": 1}, "keep_old_secret_active_for_24_hours"),
        ("/rotate_secret", {"overlap_s": 5}, "overlap_s"),
        ("/test", {"event_type": "batch.completed"}, "event_type"),
        ("/test", {"event_type": ["video.failed"]}, "event_type"),
        ("/test", {"event": "video.failed"}, "event"),
    ],
)
def test_what_cannot_be_meant_is_named(site: Any, route: str, body: dict[str, Any], field: str) -> None:
    made = site.client.post("/webhook_endpoints", json={"url": URL}).json()
    answer = site.client.post(f"/webhook_endpoints/{made['id']}{route}", json=body)
    assert [fault["field"] for fault in site.problem(422, answer)["errors"]] == [field]
