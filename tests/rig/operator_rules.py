"""Writes deploy/kubernetes/monitoring/rules.yaml: deploy/rules/ in the Prometheus operator's envelope."""

import yaml

from rig.processes import ROOT


def main() -> None:
    groups = [
        group
        for file in sorted((ROOT / "deploy/rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    envelope = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "microcinema"},
        "spec": {"groups": groups},
    }
    text = yaml.safe_dump(envelope, sort_keys=False, width=110, allow_unicode=True)
    (ROOT / "deploy/kubernetes/monitoring/rules.yaml").write_text(
        "# Made of deploy/rules/ by `PYTHONPATH=.:tests python -m rig.operator_rules`.\n" + text
    )


if __name__ == "__main__":
    main()
