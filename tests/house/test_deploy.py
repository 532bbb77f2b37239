"""The files in deploy/ hold together: schemas, references, and every metric a dashboard asks for."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.metrics import GatewayMetrics
from service.notifier.metrics import NotifierMetrics
from service.queue_gauges import QueueGauges
from service.remembered import Remembered
from worker.host.metrics import CrewMetrics
from worker.metrics import WorkerMetrics
from worker.settings import WorkerSettings, shipped_weights

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RULES = [
    rule
    for file in sorted((ROOT / "deploy/rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
#: Names of series in an expression; `up` and `ALERTS` are Prometheus' own.
ASKED = re.compile(r"\b(?:microcinema|process)_?[\w:]+|\bup\b|\bALERTS\b").findall
DOCKERFILES = ["Dockerfile.cuda", "deploy/Dockerfile.gateway"]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_compose_follows_the_schema():
    checked = _run(_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dockerfiles_are_lint_free(dockerfile):
    checked = _run(_tool("hadolint"), dockerfile)
    assert checked.returncode == 0, checked.stdout


def test_the_worker_image_asks_for_its_health_where_it_answers():
    text = (ROOT / "Dockerfile.cuda").read_text()
    asked = re.search(r"HEALTHCHECK.*?127\.0\.0\.1:(\d+)/livez", text, re.S)
    opened = re.search(r"MICROCINEMA_PROBE_PORT=(\d+)", text)
    assert asked
    assert opened
    assert asked[1] == opened[1]
    assert f"EXPOSE {opened[1]}" in text


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_what_a_compose_service_refers_to_exists(name):
    service: dict[str, Any] = COMPOSE["services"][name]
    assert set(service.get("depends_on", [])) <= set(COMPOSE["services"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    if build := service.get("build"):
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    if isinstance(waits := service.get("depends_on"), dict):
        healthy = {waited for waited, how in waits.items() if how["condition"] == "service_healthy"}
        assert all("healthcheck" in COMPOSE["services"][waited] for waited in healthy)


def test_compose_publishes_to_this_host_only_and_never_the_record():
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert "ports" not in COMPOSE["services"]["valkey"]


def test_every_variable_of_compose_is_in_the_example():
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (ROOT / "deploy/env.example").read_text(), re.M))
    assert asked == offered - {"COMPOSE_PROFILES"}


def test_what_compose_does_without_an_answer_is_what_the_example_says():
    chosen = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    offered = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "deploy/env.example").read_text(), re.M))
    assert chosen
    assert chosen == {name: offered[name] for name in chosen}


def test_every_variable_of_the_example_is_explained():
    """By a remark at the head of its paragraph, or nearer."""
    for paragraph in (ROOT / "deploy/env.example").read_text().split("\n\n"):
        assert paragraph.startswith("#"), paragraph


def test_every_mounted_board_and_data_source_is_where_grafana_looks():
    mounted = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    folder = ROOT / "deploy/grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/microcinema.yml").read_text())["providers"]
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    uids = {json.loads(dashboard.read_text())["uid"] for dashboard in DASHBOARDS}
    assert len(uids) == len(DASHBOARDS)
    for dashboard in DASHBOARDS:
        for panel in json.loads(dashboard.read_text())["panels"]:
            for asked in (panel["datasource"], *(target.get("datasource") for target in panel["targets"])):
                if asked is not None and asked["type"] == "prometheus":
                    assert asked["uid"] == source["uid"], panel["title"]


@pytest.mark.parametrize("worker", ["worker", "worker-cpu"])
def test_another_model_can_be_named_in_the_example(worker):
    environment = COMPOSE["services"][worker]["environment"]
    assert environment["MICROCINEMA_WEIGHTS"] == "${WEIGHTS:-}"
    cache = environment["MICROCINEMA_WEIGHTS_CACHE"]
    assert f"weights:{cache}" in COMPOSE["services"][worker]["volumes"]
    assert f"{cache}/mine" in (ROOT / "deploy/env.example").read_text()
    empty = WorkerSettings(weights="", picture_model="")
    assert (empty.weights, empty.picture_model) == (shipped_weights(), None)


@pytest.mark.parametrize("worker", ["worker", "worker-cpu"])
def test_whatever_owners_of_spot_machines_are_told_to_set_can_be_set_in_the_example(worker):
    section = (ROOT / "docs/operations.md").read_text().split("\n## Spot GPUs\n")[1].split("\n## ")[0]
    told = set(re.findall(r"`MICROCINEMA_(\w+)`", section))
    assert {"CHECKPOINT_EVERY_S", "DRAIN_GRACE_S"} <= told
    environment = COMPOSE["services"][worker]["environment"]
    for name in told:
        assert str(environment.get(f"MICROCINEMA_{name}", "")).startswith(f"${{{name}:-"), name


def test_the_record_survives_a_power_cut_in_compose():
    command = COMPOSE["services"]["valkey"]["command"]
    chosen = dict(itertools.pairwise(command))
    assert (chosen["--appendonly"], chosen["--appendfsync"]) == ("yes", "always")
    assert chosen["--maxmemory-policy"] == "noeviction"
    assert re.fullmatch(r"\$\{VALKEY_MEMORY:-\d+[mg]b\}", chosen["--maxmemory"]), "or it is never full"


def test_prometheus_scrapes_ports_that_compose_opens():
    scrapes = {
        one["job_name"]: one
        for one in yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    }
    assert scrapes["gateway"]["static_configs"][0]["targets"] == [
        f"gateway:{COMPOSE['services']['gateway']['environment']['MICROCINEMA_PORT']}"
    ]
    notifier = COMPOSE["services"]["notifier"]["environment"]
    assert scrapes["notifier"]["static_configs"][0]["targets"] == [
        f"notifier:{notifier['MICROCINEMA_NOTIFIER_METRICS_PORT']}"
    ]
    found = scrapes["worker"]["dns_sd_configs"][0]
    for name in found["names"]:
        environment = COMPOSE["services"][name]["environment"]
        assert environment["MICROCINEMA_PROBE_PORT"] == str(found["port"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (make setup-system)")
def test_promtool_accepts_the_configuration():
    checked = _run("promtool", "check", "config", "deploy/prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (make setup-system)")
def test_promtool_can_read_every_query_of_the_dashboards(tmp_path):
    queries = [query.replace("$__rate_interval", "1m") for _, query in _queries()]
    rules = [{"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = _run("promtool", "check", "rules", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _exported() -> set[str]:
    """Names of all samples that gateway, notifier and worker can show."""

    async def never_read() -> Any:
        raise TimeoutError

    notifier = CollectorRegistry()
    NotifierMetrics(notifier)
    gateway = GatewayMetrics(QueueGauges(Remembered(never_read, clock=lambda: 0.0))).registry
    names = {"up", "ALERTS"}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    crew = CollectorRegistry()
    crew.register(CrewMetrics({}, dict, list))
    for registry in (gateway, notifier, WorkerMetrics().registry, crew):
        for family in registry.collect():
            names |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    return names


def _queries() -> Iterator[tuple[str, str]]:
    for dashboard in DASHBOARDS:
        for panel in json.loads(dashboard.read_text())["panels"]:
            if (
                panel["datasource"]["type"] == "prometheus"
            ):  # of logs and traces: tests/deploy/test_job_board.py
                for target in panel["targets"]:
                    yield panel["title"], target["expr"]


@pytest.mark.parametrize(("panel", "query"), list(_queries()))
def test_every_metric_a_dashboard_asks_for_exists(panel, query):
    asked = set(ASKED(query))
    assert asked
    assert asked <= _exported() | {rule["record"] for rule in RULES if "record" in rule}, panel


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_metric_a_rule_asks_for_exists(rule):
    asked = set(ASKED(rule["expr"]))
    assert asked
    assert asked <= _exported() | {rule["record"] for rule in RULES if "record" in rule}


def test_every_metric_is_shown_somewhere():
    recorded = [rule["expr"] for rule in RULES if "record" in rule]
    asked = {name for query in (*(query for _, query in _queries()), *recorded) for name in ASKED(query)}
    families = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in _exported() if name.startswith("microcinema_")
    }
    assert families <= {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}


def test_the_rules_lie_where_prometheus_looks_for_them():
    patterns = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["rule_files"]
    found = {file for pattern in patterns for file in (ROOT / "deploy").glob(pattern)}
    assert found == set((ROOT / "deploy/rules").iterdir())
    mounted = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["prometheus"]["volumes"])
    assert mounted["./deploy/rules"] == mounted["./deploy/prometheus.yml"].replace("prometheus.yml", "rules")


def test_panels_say_what_they_show_and_do_not_overlap():
    for dashboard in DASHBOARDS:
        panels = json.loads(dashboard.read_text())["panels"]
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            assert panel["description"]
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken
            assert at["x"] + at["w"] <= 24
            taken |= cells
