"""What Kubernetes' operators are told of rules and scaling is what compose's Prometheus knows."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy/kubernetes"


def test_the_operators_rules_are_those_of_compose():
    shipped = [
        group
        for file in sorted((ROOT / "deploy/rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    operated = yaml.safe_load((SOURCE / "monitoring/rules.yaml").read_text())
    assert operated["spec"]["groups"] == shipped, "python -m rig.operator_rules writes it anew"


def test_the_disk_that_is_watched_is_the_records():
    """A StatefulSet's claims are <template>-<set>-<number>."""
    manifests = yaml.safe_load_all((SOURCE / "base/valkey.yaml").read_text())
    (valkey,) = (each for each in manifests if each["kind"] == "StatefulSet")
    (template,) = valkey["spec"]["volumeClaimTemplates"]
    claim = f"{template['metadata']['name']}-{valkey['metadata']['name']}-0"
    asked = re.findall(r'persistentvolumeclaim=~"([^"]+)"', (ROOT / "deploy/rules/alerts.yml").read_text())
    assert asked
    assert all(re.fullmatch(pattern, claim) for pattern in asked)


def test_scaling_asks_for_series_that_the_rules_record():
    recorded = {
        rule["record"]
        for file in (ROOT / "deploy/rules").glob("*.yml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    scaled = yaml.safe_load((SOURCE / "scaling/worker.yaml").read_text())
    for trigger in scaled["spec"]["triggers"]:
        asked = set(re.findall(r"microcinema[\w:]+", trigger["metadata"]["query"]))
        assert asked
        assert asked <= recorded
