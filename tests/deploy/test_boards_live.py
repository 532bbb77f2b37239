"""A real Prometheus scrapes a real service under load: everything that a panel or a rule asks for is there.

An expression counts as answered when it had a number at some second of the load. An alert's expression is
empty as long as all is well, so of alerts the series that they read are asked for; test_alerts.py makes them
fire.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from rig.boards import Asked, of_panels, of_rules, selectors
from rig.metered import Metered, metered_service
from rig.processes import ROOT, wait_until

from models.nano import write_nano

pytestmark = [
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed (make setup-system)"
    ),
    pytest.mark.timeout(420),
]

#: Expressions that are rightly empty while all is well, and why.
RIGHTLY_EMPTY = {
    'count(ALERTS{alertstate="firing"})': "nothing fires",
    # Of several GPUs of one host, whose supervisor is not part of this service.
    "sum by (instance, place) (increase(microcinema_worker_restarts_total[15m]))": "nobody supervises",
    "max by (instance, place) (microcinema_worker_given_up)": "nobody supervises",
}
#: Shown by the supervisor of several GPUs only: tests/worker/host has it told by a real one.
OF_SEVERAL_GPUS = "microcinema_worker_given_up"
#: Told by a kubelet of its volumes only: test_kubernetes_rules.py holds the claim's name to the manifest.
OF_KUBERNETES = {
    f'kubelet_volume_stats_{part}_bytes{{persistentvolumeclaim=~"data-valkey-.+"}}'
    for part in ("available", "capacity")
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    """A service that has rendered ten videos, its webhooks delivered and its rules evaluated."""
    folder = tmp_path_factory.mktemp("metered")
    write_nano(folder / "weights")
    with metered_service(folder, folder / "weights") as service:
        service.render(10)
        httpx.get(f"{service.url}/videos/video_none", trust_env=False)
        wait_until(
            lambda: (
                service.prometheus.now('sum(microcinema_webhook_tries_total{verdict="delivered"})') >= [10]
            ),
            60,
            "the webhooks are counted",
        )
        wait_until(
            lambda: service.prometheus.now("sum(microcinema_videos_foretold_total)") >= [9],
            60,
            "the videos are counted",
        )
        wait_until(
            lambda: bool(service.prometheus.now("microcinema_eta_ratio")), 60, "the estimates are judged"
        )
        time.sleep(3)  # a rule sees what was scraped before it: three rounds of both
        yield service


def _empty(service: Metered, asked: Iterator[Asked]) -> list[Asked]:
    return [one for one in asked if not service.prometheus.has(one.expression, service.began, time.time())]


def test_every_panel_shows_something(loaded: Metered) -> None:
    empty = _empty(loaded, of_panels())
    assert [one for one in empty if one.expression not in RIGHTLY_EMPTY] == []
    assert {one.expression for one in empty} == set(RIGHTLY_EMPTY)


def test_what_is_rightly_empty_answers_once_its_fault_is_there(tmp_path: Path) -> None:
    faults = {
        'microcinema_redis_up{instance="g1"}': "1x5 0x15",
        'microcinema_worker_restarts_total{instance="w",place="gpu1"}': "0x10 1x10",
        'microcinema_worker_given_up{instance="w",place="gpu1"}': "0x10 1x10",
    }
    there = {"interval": "1m", "input_series": [{"series": n, "values": v} for n, v in faults.items()]}
    # `count(...) > 0`: whatever it comes to, it is no longer empty. promtool has no other way to say so.
    asked = [
        {
            "expr": f"count({one} > 0)",
            "eval_time": "20m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for one in RIGHTLY_EMPTY
    ]
    file = tmp_path / "faults.yml"
    rules = [str(each) for each in (ROOT / "deploy/rules").glob("*.yml")]
    file.write_text(yaml.safe_dump({"rule_files": rules, "tests": [{**there, "promql_expr_test": asked}]}))
    checked = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_recording_rule_records_something(loaded: Metered) -> None:
    assert _empty(loaded, of_rules("record")) == []
    assert _empty(loaded, (Asked(one.where, one.where) for one in of_rules("record"))) == []


def test_every_series_that_an_alert_reads_is_there(loaded: Metered) -> None:
    read = [Asked(alert.where, each) for alert in of_rules("alert") for each in selectors(alert.expression)]
    assert len(read) > 30
    assert {one.expression for one in _empty(loaded, iter(read))} == {OF_SEVERAL_GPUS, *OF_KUBERNETES}


def test_nothing_fires_while_all_is_well(loaded: Metered) -> None:
    assert loaded.prometheus.now("ALERTS") == []


def test_an_expression_about_nothing_would_be_found(loaded: Metered) -> None:
    nothing = Asked("a misspelt panel", "sum(rate(microcinema_http_request_total[10s]))")
    assert _empty(loaded, iter([nothing])) == [nothing]


def test_no_expression_makes_up_its_answer() -> None:
    for one in (*of_panels(), *of_rules("record")):
        assert "vector(" not in one.expression, one
        assert "absent" not in one.expression, one


def test_promtool_has_nothing_to_say_about_the_metrics(loaded: Metered) -> None:
    targets = httpx.get(f"{loaded.prometheus.url}/api/v1/targets", trust_env=False).json()["data"]
    pages = [target["scrapeUrl"] for target in targets["activeTargets"]]
    assert len(pages) == 3
    for page in pages:
        text = httpx.get(page, trust_env=False).content
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, b""), (page, checked.stderr.decode())
