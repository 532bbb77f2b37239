"""docs/metrics.md says what the code shows, and no label in it can grow without bound."""

import re

from rig.metrics_page import PAGE, page, registries, rows
from rig.processes import ROOT

BOUNDED = {
    *("method", "route", "status", "state", "pool", "model", "share", "priority", "rank"),  # the gateway's
    *("stage", "outcome", "code", "by", "kind", "command", "rung", "part"),  # the worker's
    *("place",),  # a host's supervisor's: as many as it has GPUs
    *("verdict",),  # the notifier's
    *("reason", "scope", "limit"),
}


def test_the_page_is_what_the_code_shows():
    assert PAGE.read_text() == page(), "PYTHONPATH=.:tests python -m rig.metrics_page writes it anew"


def test_no_metric_is_made_where_the_page_does_not_look():
    made = {
        str(file.relative_to(ROOT))
        for folder in ("service", "worker", "models")
        for file in (ROOT / folder).rglob("*.py")
        if "prometheus_client" in (text := file.read_text())
        and re.search(r"\b(?:Counter|Gauge|Histogram|Summary|\w*MetricFamily)\(", text)
    }
    assert made == {
        *("service/metrics.py", "service/queue_gauges.py", "service/notifier/metrics.py"),
        *("worker/metrics.py", "worker/host/metrics.py"),
    }


def test_every_metric_says_what_it_counts():
    for registry in registries().values():
        for name, _, _, meaning in rows(registry):
            assert len(meaning.split()) > 2, name


def test_no_label_names_a_job_an_owner_or_a_prompt():
    for registry in registries().values():
        for name, _, labels, _ in rows(registry):
            assert set(labels) <= BOUNDED, name


def test_labels_of_metrics_that_were_never_used_are_told():
    told = {name: labels for registry in registries().values() for name, _, labels, _ in rows(registry)}
    assert told["microcinema_http_requests_total"] == ("method", "route", "status")
    assert told["microcinema_ready_jobs"] == ("pool",)
    assert len(told) > 45
