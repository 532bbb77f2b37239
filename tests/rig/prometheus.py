"""A real Prometheus with the rules and the job names of deploy/, pointed at processes of a test."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from rig.plain_http import PLAIN
from rig.processes import ROOT, Running, free_ports, wait_until

#: In place of Grafana's own, which is four scrapes at least.
RATE_INTERVAL = "10s"


@dataclass(frozen=True)
class Prometheus:
    """What tests ask it. Times are seconds since 1970."""

    url: str

    def now(self, query: str) -> list[float]:
        """The values of an instant query, one per series; a query that it cannot read raises."""
        return [float(series["value"][1]) for series in self._ask("query", {"query": query})]

    def over(self, query: str, began: float, ended: float, step_s: float) -> list[dict[str, Any]]:
        """A range query: `metric` (labels) and `values` (time, text) of each series."""
        return self._ask("query_range", {"query": query, "start": began, "end": ended, "step": step_s})

    def has(self, query: str, began: float, ended: float) -> bool:
        """Whether any series had a number, not only NaN, at any second of this time."""
        series = self.over(query, began, ended, 1.0)
        return any(not math.isnan(float(value)) for one in series for _, value in one["values"])

    def _ask(self, kind: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/{kind}", params=dict(parameters), timeout=30, **PLAIN)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def configuration(targets: Mapping[str, list[str]], scrape_s: int) -> dict[str, Any]:
    """deploy/prometheus.yml, its jobs scraping `targets` (by job name) and its rules asked as often."""
    shipped: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    jobs = [job["job_name"] for job in shipped["scrape_configs"]]
    assert set(jobs) == set(targets)
    return {
        "global": {"scrape_interval": f"{scrape_s}s", "evaluation_interval": f"{scrape_s}s"},
        "rule_files": [str(ROOT / "deploy" / pattern) for pattern in shipped["rule_files"]],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets[job])}]} for job in jobs
        ],
    }


@contextmanager
def running_prometheus(
    folder: Path, targets: Mapping[str, list[str]], scrape_s: int = 1
) -> Iterator[Prometheus]:
    """A server that has scraped every target once, for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(targets, scrape_s)))
    argv = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'series'}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    server = Running("prometheus", argv, {}, folder / "prometheus.log").start()
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    expected = sum(len(each) for each in targets.values())

    def scraped() -> bool:
        assert server.alive(), server.output()
        try:
            ready = httpx.get(f"{prometheus.url}/-/ready", timeout=5, **PLAIN).status_code == 200
            return ready and prometheus.now("count(up == 1)") == [expected]
        except httpx.HTTPError:
            return False

    try:
        wait_until(scraped, 90, "Prometheus has scraped every target")
        yield prometheus
    finally:
        server.end()
