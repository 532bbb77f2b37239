"""Predictions: the same jobs in the words of Replicate's clients, behind the same gates."""

import base64
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from rig.processes import wait_until

from service.contracts.api_key import Scope
from service.contracts.lifecycle import Stage
from service.fields.aliases import Alias
from service.store.api_keys import KeyStore
from service.store.nouns import Note
from service.store.script import Store

ASKED = {"prompt": "a red circle moves left", "seed": 7}


def predict(site: Any, path: str = "/v1/predictions", **changes: Any) -> dict[str, Any]:
    answer = site.client.post(path, json={"version": "micro", "input": ASKED, **changes})
    assert answer.status_code == 201, answer.text
    prediction: dict[str, Any] = answer.json()
    assert answer.headers["location"] == prediction["urls"]["get"]
    return prediction


def test_a_prediction_is_a_video(site: Any) -> None:
    made = predict(site, webhook="https://example.com/hook")
    assert (made["status"], made["model"], made["version"]) == ("starting", "microcinema/micro", "micro")
    assert made["input"]["prompt"] == ASKED["prompt"]
    assert made["urls"]["get"] == f"{site.url}/v1/predictions/{made['id']}"
    video = site.client.get(f"/videos/{made['id']}").json()
    assert (video["seed"], video["webhook_url"]) == (7, "https://example.com/hook")
    site.worker.render()
    done = site.client.get(made["urls"]["get"]).json()
    assert (done["status"], done["error"]) == ("succeeded", None)
    assert done["completed_at"].endswith("Z")
    assert done["metrics"]["total_time"] >= 0
    link = urlsplit(done["output"])
    assert site.client.get(f"{link.path}?{link.query}").content[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("words", "events"),
    [
        (["completed"], ["video.completed", "video.failed", "video.cancelled"]),
        (["start"], ["video.started"]),
        (
            ["output", "completed", "start"],
            ["video.started", "video.completed", "video.failed", "video.cancelled"],
        ),
        (None, []),
    ],
)
def test_a_webhook_tells_of_what_was_asked(site: Any, words: Any, events: list[str]) -> None:
    made = predict(site, webhook="https://example.com/hook", webhook_events_filter=words)
    assert site.client.get(f"/videos/{made['id']}").json()["webhook_events"] == events


def test_a_filter_of_no_webhook_is_nobodys(site: Any) -> None:
    made = predict(site, webhook_events_filter=["completed"])
    assert site.client.get(f"/videos/{made['id']}").json()["webhook_events"] == []


def test_progress_stands_in_the_logs_as_the_client_reads_it(site: Any) -> None:
    made = predict(site)
    claim = site.worker.claim()
    assert site.jobs.note(made["id"], claim.attempt, Note(Stage.IMAGE_TO_VIDEO, 10, 25, 40))
    seen = site.client.get(made["urls"]["get"]).json()
    assert (seen["status"], seen["output"]) == ("processing", None)
    assert seen["logs"] == "40%|####      | 10/25 image_to_video\n"


@pytest.mark.parametrize("version", ["micro", "microcinema/micro"])
def test_the_version_is_a_model(site: Any, version: str) -> None:
    assert predict(site, version=version)["version"] == "micro"


def test_the_address_names_the_model(site: Any) -> None:
    answer = site.client.post("/v1/models/microcinema/micro/predictions", json={"input": ASKED})
    assert (answer.status_code, answer.json()["version"]) == (201, "micro")


def test_a_foreign_name_is_an_alias_or_a_refusal(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(aliases={"wan/video": Alias(model="micro")})
    site.worker.announce()
    known = site.client.post("/v1/models/wan/video/predictions", json={"input": ASKED})
    assert known.json()["version"] == "micro"
    unknown = site.client.post("/v1/models/wan/micro/predictions", json={"input": ASKED})
    problem = site.problem(422, unknown)
    assert (problem["code"], problem["detail"]) == (
        "unknown_model",
        "model must be one of micro, wan/video, got 'wan/micro'",
    )


def test_a_picture_comes_as_a_data_url(site: Any, png: Any) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    made = predict(site, input={**ASKED, "input_reference": url})
    assert site.client.get(f"/videos/{made['id']}").json()["fit"] == "exact"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "prompt"),
        ({"input": {**ASKED, "fps": 99}}, "fps"),
        ({"input": {**ASKED, "width": 64}}, "width"),
        ({"input": ASKED, "version": 7}, "version"),
        ({"input": {**ASKED, "model": "micro"}, "version": "micro"}, "input.model"),
        ({"input": {**ASKED, "webhook_url": "https://a.example/"}, "webhook": "https://b.example/"}, None),
        ({"input": {**ASKED, "input_reference": "ftp://example.com/a.png"}}, "input_reference"),
        ({"input": ASKED, "input_reference": "https://example.com/a.png"}, "input_reference"),
        ({"input": ASKED, "stream": True}, "stream"),
        ({"input": ASKED, "webhook": "ftp://example.com/"}, "webhook"),
        ({"input": ASKED, "webhook_events_filter": ["video.completed"]}, "webhook_events_filter"),
        ({"input": ASKED, "webhook_events_filter": ["output", "logs"]}, "webhook_events_filter"),
        ({"input": ASKED, "webhook_events_filter": [["completed"]]}, "webhook_events_filter"),
        ({"input": ASKED, "webhook_events_filter": []}, "webhook_events_filter"),
        ({"input": ASKED, "webhook_events_filter": "completed"}, "webhook_events_filter"),
    ],
)
def test_what_is_wrong_is_named(site: Any, body: dict[str, Any], param: str | None) -> None:
    problem = site.problem(422, site.client.post("/v1/predictions", json=body))
    assert problem["error"]["param"] == (param or "input.webhook_url")


def test_a_version_beside_the_address_is_refused(site: Any) -> None:
    body = {"input": ASKED, "version": "micro"}
    answer = site.client.post("/v1/models/microcinema/micro/predictions", json=body)
    assert site.problem(422, answer)["error"]["param"] == "version"


def test_only_json_is_read(site: Any) -> None:
    assert site.problem(415, site.client.post("/v1/predictions", data={"input": "x"}))["code"] == (
        "unsupported_body"
    )


def test_a_key_makes_one_job_of_a_prediction_and_a_video(site: Any) -> None:
    key = {"idempotency-key": "order-1"}
    made = site.client.post("/v1/predictions", json={"input": ASKED}, headers=key)
    again = site.client.post("/v1/predictions", json={"input": ASKED}, headers=key)
    as_video = site.client.post("/v1/videos", json=ASKED, headers=key)
    assert [made.status_code, again.status_code, as_video.status_code] == [201, 200, 200]
    assert made.json()["id"] == again.json()["id"] == as_video.json()["id"]


@pytest.mark.parametrize("prefer", ["wait", "wait=20"])
def test_the_answer_to_a_wait_is_the_ended_prediction(site: Any, prefer: str) -> None:
    def render() -> None:
        wait_until(lambda: bool(site.client.get("/videos").json()["data"]), 60, "the job is there")
        site.worker.render()

    gpu = threading.Thread(target=render)
    gpu.start()
    answer = site.client.post("/v1/predictions", json={"input": ASKED}, headers={"prefer": prefer})
    gpu.join()
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")
    assert answer.headers["preference-applied"] in ("wait=59.5", "wait=19.5")


def test_a_wait_that_ends_too_early_says_starting(site: Any) -> None:
    """Replicate's `run` would take the output, which is not there, of one that says processing."""
    answers: list[Any] = []

    def ask() -> None:
        headers = {"prefer": "wait=2"}
        answers.append(site.client.post("/v1/predictions", json={"input": ASKED}, headers=headers))

    client = threading.Thread(target=ask)
    client.start()
    wait_until(lambda: bool(site.client.get("/videos").json()["data"]), 60, "the job is there")
    claim = site.worker.claim()
    client.join()
    (answer,) = answers
    assert answer.json()["status"] == "starting"
    seen = site.client.get(f"/v1/predictions/{claim.job.id}").json()
    assert seen["status"] == "processing"


def test_a_canceled_prediction_stays_so(site: Any) -> None:
    made = predict(site)
    for _ in range(2):
        answer = site.client.post(made["urls"]["cancel"])
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert answer.json()["error"] == ("cancelled: The video was cancelled at the request of its owner.")
    assert site.client.get(f"/videos/{made['id']}").json()["state"] == "cancelled"


def test_an_ended_prediction_cannot_be_canceled(site: Any) -> None:
    made = predict(site)
    site.worker.render()
    assert site.problem(409, site.client.post(made["urls"]["cancel"]))["code"] == "already_finished"


def test_pages_lead_from_one_to_the_next(site: Any) -> None:
    made = [predict(site)["id"] for _ in range(101)]
    first = site.client.get("/v1/predictions").json()
    second = site.client.get(first["next"]).json()
    assert [len(first["results"]), len(second["results"]), second["next"]] == [100, 1, None]
    assert [each["id"] for page in (first, second) for each in page["results"]] == made[::-1]
    assert site.problem(422, site.client.get("/v1/predictions?cursor=video_x"))["code"] == "invalid_fields"


def test_predictions_keep_to_their_owner(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(require_keys=True)
    site.worker.announce()
    keys = KeyStore(Store(site.redis))
    ours, theirs, reader = (
        {"authorization": f"Bearer {keys.create(owner, scopes)[1]}"}
        for owner, scopes in (
            ("ada", frozenset({Scope.READ, Scope.WRITE})),
            ("bob", frozenset({Scope.READ, Scope.WRITE})),
            ("bob", frozenset({Scope.READ})),
        )
    )
    made = site.client.post("/v1/predictions", json={"input": ASKED}, headers=ours).json()
    get, cancel = made["urls"]["get"], made["urls"]["cancel"]
    assert site.client.get(get).status_code == 401
    assert site.client.get(get, headers=ours).status_code == 200
    assert site.problem(404, site.client.get(get, headers=theirs))["code"] == "unknown_video"
    assert site.problem(404, site.client.post(cancel, headers=theirs))["code"] == "unknown_video"
    assert site.client.get("/v1/predictions", headers=theirs).json()["results"] == []
    refused = site.client.post("/v1/predictions", json={"input": ASKED}, headers=reader)
    assert site.problem(403, refused)["code"] == "missing_scope"


def test_a_full_queue_and_a_quota_refuse_as_everywhere(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(queue_limit=1)
    site.worker.announce()
    predict(site)
    full = site.client.post("/v1/predictions", json={"input": ASKED})
    assert site.problem(429, full)["code"] == "queue_full"
    narrow = start_gateway(quota_concurrent_jobs=1)
    over = narrow.client.post("/v1/predictions", json={"input": ASKED})
    assert narrow.problem(429, over)["code"] == "insufficient_quota"
