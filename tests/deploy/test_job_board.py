"""The board of one job, asked of a real job: its lines as the processes wrote them, its spans as they came.

No Loki and no Tempo is at hand. The questions are taken out of the board and answered by a reader of as much
LogQL and TraceQL as they use; what it does not know it refuses.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from rig.collector import Seen, spans_in
from rig.local_service import local_service
from rig.processes import ROOT, wait_until
from rig.receiver import Receiver

from models.nano import write_nano

BOARD = json.loads((ROOT / "deploy/grafana/dashboards/microcinema-job.json").read_text())
Line = dict[str, Any]
#: A bar outside of quotes.
BAR = re.compile(r'\|(?=(?:[^"]*"[^"]*")*[^"]*$)')


def targets(kind: str) -> dict[str, str]:
    """What each panel of a kind of data source asks, by its title."""
    word = {"loki": "expr", "tempo": "query"}[kind]
    return {
        panel["title"]: target[word]
        for panel in BOARD["panels"]
        if panel["datasource"]["type"] == kind
        for target in panel["targets"]
    }


def logql(query: str, job: str, raw: list[str]) -> list[Line]:
    """Lines that answer `{streams} |= "text" | json | label="value" | label=~"pattern"`."""
    selector, *stages = (part.strip() for part in BAR.split(query.replace("$job", job)))
    assert selector == "{$streams}", query
    found, lines = raw, []
    for stage in stages:
        if stage.startswith("="):
            (text,) = shlex.split(stage[1:])
            found = [line for line in found if text in line]
        elif stage == "json":
            lines = [json.loads(line) for line in found]
        else:
            label, how, value = re.fullmatch(r'(\w+)\s*(=~|=)\s*"(.*)"', stage).groups()  # type: ignore[union-attr]
            pattern = value if how == "=~" else re.escape(value)
            lines = [line for line in lines if re.fullmatch(pattern, str(line.get(label, "")))]
    return lines


def traceql(query: str, job: str, spans: list[Seen]) -> list[Seen]:
    """Spans that answer `{ a = "x" && b =~ "y" }`, or those below such by `>>`."""
    above, *below = (_selected(part, job, spans) for part in query.replace("$job", job).split(">>"))
    for inner in below:
        parents = {span.span_id for span in above}
        above = [span for span in inner if span.parent_id in parents]
    return above


def _selected(selector: str, job: str, spans: list[Seen]) -> list[Seen]:
    (inside,) = re.fullmatch(r"\s*\{(.*)\}\s*", selector).groups()  # type: ignore[union-attr]
    for condition in inside.split("&&"):
        left, how, value = re.fullmatch(r'\s*([\w.]+) (=~|=) "(.*)"\s*', condition).groups()  # type: ignore[union-attr]
        pattern = value if how == "=~" else re.escape(value)
        spans = [span for span in spans if re.fullmatch(pattern, str(_of(span, left)))]
    return spans


def _of(span: Seen, name: str) -> object:
    return span.name if name == "name" else span.facts.get(name.removeprefix("span."), "")


@dataclass(frozen=True)
class Life:
    """Of one job that was told and one beside it."""

    job: str
    other: str
    lines: list[str]
    spans: list[Seen]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    write_nano(folder / "weights")
    traced = {"OTEL_BSP_SCHEDULE_DELAY": "200", "MICROCINEMA_WEBHOOK_DELAYS_S": "[0.1]"}
    with (
        Receiver(statuses=[500]) as hook,
        Receiver() as collector,
        local_service(
            folder / "site", folder / "weights", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **traced
        ) as service,
    ):
        service.start_valkey()
        service.start()
        other = service.create()
        job = service.create(webhook_url=hook.url)
        for each in (other, job):
            service.wait_for(each, "succeeded")

        def told() -> bool:
            given_up = sum("webhook_given_up" in line for line in service.logs().splitlines())
            ours = [span for span in spans_in(collector) if span.facts.get("microcinema.job_id") == job]
            return given_up >= 2 and {"attempt", "webhook"} <= {span.name for span in ours}

        wait_until(told, 120, f"everything is told\n{service.logs()}")
        lines = [
            line
            for process in service.running
            for line in process.output().splitlines()
            if line.startswith("{")
        ]
        yield Life(job, other, lines, spans_in(collector))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("panel", targets("loki"))
def test_every_panel_of_logs_shows_lines_of_this_job_alone(life: Life, panel: str) -> None:
    lines = logql(targets("loki")[panel], life.job, life.lines)
    assert lines
    assert all(life.job in json.dumps(line) and life.other not in json.dumps(line) for line in lines)
    assert logql(targets("loki")[panel], "video_none", life.lines) == []


@pytest.mark.timeout(600)
def test_attempts_begin_and_end_and_carry_the_trace_and_webhooks_are_among_the_lines(life: Life) -> None:
    attempts = logql(targets("loki")["Attempts"], life.job, life.lines)
    assert {"attempt_began", "attempt_ended"} <= {line["event"] for line in attempts}
    (trace,) = {line["trace_id"] for line in attempts if line["event"].startswith("attempt_")}
    assert trace in {span.trace_id for span in life.spans}
    everything = logql(targets("loki")["Everything that names it"], life.job, life.lines)
    assert {"worker", "notifier"} <= {line["process"] for line in everything}


@pytest.mark.timeout(600)
def test_the_traces_of_the_board_are_this_jobs_and_its_stages_are_in_them(life: Life) -> None:
    found = traceql(targets("tempo")["Its trace"], life.job, life.spans)
    assert {"queue", "attempt", "webhook"} <= {span.name for span in found}
    assert len({span.trace_id for span in found}) == 1
    stages = traceql(targets("tempo")["Where its time went"], life.job, life.spans)
    assert {span.name for span in stages} == {"text_to_image", "image_to_video", "encode", "upload"}
    assert {span.trace_id for span in stages} == {span.trace_id for span in found}
    assert traceql(targets("tempo")["Its trace"], "video_none", life.spans) == []


def test_whoever_opens_the_board_chooses_the_job_and_where_logs_and_traces_are() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert {name: one["type"] for name, one in variables.items()} == {
        "job": "textbox",
        "streams": "textbox",
        "logs": "datasource",
        "traces": "datasource",
    }
    assert (variables["logs"]["query"], variables["traces"]["query"]) == ("loki", "tempo")
    for panel in BOARD["panels"]:
        kind = panel["datasource"]["type"]
        assert panel["datasource"]["uid"] == {"loki": "${logs}", "tempo": "${traces}"}[kind]
        assert [target["datasource"] for target in panel["targets"]] == [panel["datasource"]]
    assert set(re.findall(r"\$(\w+)", " ".join((*targets("loki").values(), *targets("tempo").values())))) == {
        "job",
        "streams",
    }
