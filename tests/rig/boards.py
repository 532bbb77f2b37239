"""What the boards and the rules of deploy/ ask for, taken out of the files themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from rig.processes import ROOT
from rig.prometheus import RATE_INTERVAL


@dataclass(frozen=True)
class Asked:
    """One expression, and where it stands."""

    where: str
    expression: str


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel that asks Prometheus, with the title of its board."""
    for file in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            if panel["datasource"]["type"] == "prometheus":
                yield board["title"], panel


def of_panels() -> Iterator[Asked]:
    """As Grafana would send them, its own rate interval filled in."""
    for board, panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
            yield Asked(f"{board} / {panel['title']} / {target['refId']}", expression)


def of_rules(kind: str) -> Iterator[Asked]:
    """`kind`: record or alert."""
    for file in sorted((ROOT / "deploy/rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if kind in rule:
                    yield Asked(rule[kind], rule["expr"])


def selectors(expression: str) -> set[str]:
    """The series that an expression reads, each with its own label matchers."""
    return set(re.findall(r"\b(?:microcinema[\w:]*|kubelet_\w+|up)\b(?:\{[^}]*\})?", expression))
