"""One trace tells a job's whole story: three real processes, one collector over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rig.collector import Seen, spans_in
from rig.processes import wait_until
from rig.receiver import Receiver
from rig.served_spec import micro_spec

StartService = Callable[..., Any]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
ASKED = {"num_inference_steps": 4, "prompt": "a secret circle"}


def named(spans: list[Seen], name: str) -> Seen:
    (one,) = [span for span in spans if span.name == name]
    return one


def told_by(service: Any, name: str) -> list[dict[str, Any]]:
    """The lines of the process of this name."""
    (process,) = (each for each in service.running if each.name == name)
    return [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]


@pytest.mark.timeout(240)
def test_from_the_clients_span_to_the_webhook(start_service: StartService) -> None:
    with Receiver() as hook, Receiver() as collector:
        service = start_service(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="200")
        service.worker()
        with service.client() as client:
            answer = client.post(
                "/videos",
                json={**ASKED, "webhook_url": f"{hook.url}/secret-path"},
                headers={"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01"},
            )
        assert answer.status_code == 202, answer.text
        video = answer.json()["id"]
        service.wait_for(video, "succeeded", seconds=120)

        def told() -> list[Seen]:
            ours = [span for span in spans_in(collector) if span.trace_id == TRACE_ID]
            completed = [span for span in ours if span.facts.get("microcinema.event") == "video.completed"]
            return ours if completed and any(span.name == "attempt" for span in ours) else []

        wait_until(lambda: bool(told()), 60, "the last span")
        spans = told()

        post = named(spans, "POST /videos")
        assert (post.parent_id, post.facts["http.response.status_code"]) == (CLIENT_SPAN, 202)
        assert post.facts["service.name"] == "microcinema-gateway"
        queue, attempt = named(spans, "queue"), named(spans, "attempt")
        assert {queue.parent_id, attempt.parent_id} == {post.span_id}
        assert attempt.facts["service.name"] == "microcinema-worker"
        assert attempt.facts["microcinema.job_id"] == video
        assert attempt.facts["microcinema.outcome"] == "succeeded"
        stages = [named(spans, stage) for stage in ("text_to_image", "image_to_video", "encode", "upload")]
        assert {stage.parent_id for stage in stages} == {attempt.span_id}
        check_times(queue, attempt, stages)
        webhooks = [span for span in spans if span.name == "webhook"]
        assert {span.parent_id for span in webhooks} == {post.span_id}
        assert {span.facts["service.name"] for span in webhooks} == {"microcinema-notifier"}
        assert "secret" not in str(spans), "neither prompts nor paths of receivers are told"

        lines = told_by(service, "worker")
        ended = next(line for line in lines if line["event"] == "attempt_ended")
        assert ended["outcome"] == "succeeded"
        about = [line for line in lines if line.get("job_id") == video]
        assert {"attempt_began", "attempt_ended"} <= {line["event"] for line in about}
        for line in about:
            facts = (line.get("trace_id"), line.get("tenant"), line.get("attempt"))
            assert facts == (TRACE_ID, "default", 1), line
        requests = [line for line in told_by(service, "gateway") if line["event"] == "request"]
        (posted,) = (line for line in requests if (line["method"], line["route"]) == ("POST", "/videos"))
        assert (posted["trace_id"], posted["tenant"], posted["job_id"]) == (TRACE_ID, "default", video)
        said = "".join(process.output() for process in service.running)
        assert video in said
        assert "secret" not in said, "no line of the three processes has a prompt or a receiver's path"


def check_times(queue: Seen, attempt: Seen, stages: list[Seen]) -> None:
    """The stages lie in the attempt one behind the other, and little of it is left between them."""
    for earlier, later in zip([queue, *stages[:-1]], stages, strict=True):
        assert earlier.ended <= later.began + 0.05
    assert attempt.began - 0.05 <= stages[0].began
    assert stages[-1].ended <= attempt.ended + 0.05
    total = sum(stage.ended - stage.began for stage in stages)
    whole = attempt.ended - attempt.began
    assert 0.6 * whole < total <= whole + 0.1


@pytest.mark.timeout(120)
def test_without_a_collector_the_clients_trace_is_carried_on(start_service: StartService) -> None:
    service = start_service()
    sent = f"00-{TRACE_ID}-{CLIENT_SPAN}-01"
    service.store().announce("worker", "default", [micro_spec()], 600)
    with service.client() as client:
        video = client.post("/videos", json=ASKED, headers={"traceparent": sent}).json()["id"]
        assert service.store().get("default", video).traceparent == sent
        untraced = client.post("/videos", json=ASKED).json()["id"]
        assert service.store().get("default", untraced).traceparent == ""
