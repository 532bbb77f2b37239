"""The OpenAPI document: what is promised, kept as a snapshot so that no promise changes unseen.

After a wanted change: `python -m pytest tests/gateway/test_openapi.py --update-openapi`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from service.api.examples import RECEIPT, VIDEO
from service.contracts.preview import Preview, Shows

SNAPSHOT = Path(__file__).with_name("openapi.json")
HTTP = {"get", "post", "patch", "delete"}


@pytest.fixture
def document(site: Any) -> dict[str, Any]:
    document: dict[str, Any] = site.client.get("/openapi.json").json()
    return document


def test_the_document_is_the_one_that_was_reviewed(document: dict[str, Any], pytestconfig: Any) -> None:
    document["info"]["version"] = "any"
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if pytestconfig.getoption("--update-openapi", default=False):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in HTTP
    ]


def test_every_route_of_the_issue_is_there(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == {
        ("post", "/videos"),
        ("get", "/videos"),
        ("get", "/videos/{video_id}"),
        ("delete", "/videos/{video_id}"),
        ("post", "/videos/{video_id}/cancel"),
        ("post", "/videos/estimate"),
        ("post", "/videos/{video_id}/remix"),
        ("post", "/videos/{video_id}/approve"),
        ("post", "/videos/{video_id}/extend"),
        ("post", "/videos/extensions"),
        ("get", "/videos/{video_id}/receipt"),
        ("post", "/videos/{video_id}/reproduce"),
        ("get", "/videos/{video_id}/content"),
        ("get", "/videos/{video_id}/events"),
        ("get", "/events/{video_id}"),
        ("get", "/videos/{video_id}/deliveries"),
        ("post", "/webhook_endpoints"),
        ("get", "/webhook_endpoints"),
        ("get", "/webhook_endpoints/{endpoint_id}"),
        ("patch", "/webhook_endpoints/{endpoint_id}"),
        ("delete", "/webhook_endpoints/{endpoint_id}"),
        ("post", "/webhook_endpoints/{endpoint_id}/rotate"),
        ("post", "/webhook_endpoints/{endpoint_id}"),
        ("post", "/webhook_endpoints/{endpoint_id}/rotate_secret"),
        ("get", "/webhook_event_types"),
        ("post", "/webhook_endpoints/{endpoint_id}/test"),
        ("get", "/webhook_endpoints/{endpoint_id}/deliveries"),
        ("post", "/webhook_endpoints/{endpoint_id}/redeliver"),
        ("post", "/webhook_deliveries/{delivery_id}/redeliver"),
        ("post", "/predictions"),
        ("get", "/predictions"),
        ("get", "/predictions/{video_id}"),
        ("post", "/predictions/{video_id}/cancel"),
        ("post", "/models/{owner}/{name}/predictions"),
        ("get", "/models"),
        ("get", "/models/{name}"),
        ("get", "/artifacts/{key}"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    }


def test_every_refusal_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert "default" not in operation["responses"], path
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                assert list(answer["content"]) == ["application/problem+json"], (path, status)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    used = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert used <= schemas.keys()
    assert "HTTPValidationError" not in schemas


def test_json_and_form_promise_the_same_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    as_json, as_form = schemas["CreateVideo"], schemas["CreateVideoForm"]
    assert as_form["properties"].keys() == as_json["properties"].keys()
    assert as_json["required"] == as_form["required"] == ["prompt"]
    for example in as_json["examples"]:
        assert example.keys() <= as_json["properties"].keys()


def test_the_examples_are_accepted(site: Any, document: dict[str, Any]) -> None:
    for example in document["components"]["schemas"]["CreateVideo"]["examples"]:
        assert site.client.post("/videos", json=example).status_code == 202


def test_the_example_of_a_video_has_exactly_the_fields_of_a_real_one(site: Any) -> None:
    site.create(webhook_url="https://example.com/hook")
    video_id = site.worker.render()
    real = site.client.get(f"/videos/{video_id}").json()
    assert list(VIDEO) == list(real)
    assert list(RECEIPT) == list(real["receipt"])
    assert list(VIDEO["attempt_log"][0]) == list(real["attempt_log"][0])
    for part in ("video", "thumbnail", "spritesheet", "keyframe", "urls"):
        assert list(VIDEO[part]) == list(real[part])


def test_streams_of_events_are_described_event_by_event(site: Any, document: dict[str, Any]) -> None:
    """Tools that read OpenAPI hold each event against the schema: `schemathesis` did, and ours was a text."""
    video_id = site.create()["id"]
    claim = site.worker.claim()
    preview = Preview(shows=Shows.VIDEO, step=1, steps=9, width=1, height=1, frames=1, picture="")
    wire = ""
    with site.client.stream("GET", f"/videos/{video_id}/events") as answer:
        for piece in answer.iter_text():
            wire += piece
            if "video.started" in piece:
                assert site.jobs.preview(video_id, claim.attempt, 1, preview)
            if "video.preview" in piece:
                site.worker.finish(claim, site.worker.film(claim))
    blocks = [block for block in wire.split("\n\n") if "data: " in block]
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    for path in ("/videos/{video_id}/events", "/events/{video_id}"):
        answer = document["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        for event in events:
            validate(event, answer["schema"])
            validate(json.loads(event["data"]), answer["schema"]["properties"]["data"]["contentSchema"])
    assert [event["event"] for event in events if "id" not in event] == ["video.preview"]
    assert len(events) > 2
