"""docs/metrics.md, made of the metrics in the code.

`PYTHONPATH=.:tests python -m rig.metrics_page` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from rig.processes import ROOT
from service.metrics import GatewayMetrics
from service.notifier.metrics import NotifierMetrics
from service.queue_gauges import QueueGauges
from service.remembered import Remembered
from worker.host.metrics import CrewMetrics
from worker.metrics import WorkerMetrics

PAGE = ROOT / "docs/metrics.md"
HEAD = """# Metrics

Made of the code by `PYTHONPATH=.:tests python -m rig.metrics_page`; a test holds the page to it. Base units,
no label that grows without bound: no job, no prompt, no owner. Histograms have `_bucket`, `_sum`, `_count`.
What the gateways say of the queue they all read from the same record: join them by `max`, never `sum`. Which
board shows what, and which alert asks for what: [operations](operations.md#boards-and-alerts),
[runbook](runbook.md). All three processes show `process_*` (memory, processor, files) as well.
"""


def registries() -> dict[str, CollectorRegistry]:
    """By process, nothing measured yet."""

    async def never_read() -> Any:
        raise TimeoutError

    crew = CollectorRegistry()
    crew.register(CrewMetrics({}, dict, list))
    notifier = CollectorRegistry()
    NotifierMetrics(notifier)
    return {
        "Gateway": GatewayMetrics(QueueGauges(Remembered(never_read, clock=lambda: 0.0))).registry,
        "Worker": WorkerMetrics().registry,
        "Several workers of a host (beside theirs, each with its `place`)": crew,
        "Notifier": notifier,
    }


def rows(registry: CollectorRegistry) -> Iterator[tuple[str, str, Sequence[str], str]]:
    """Name as it is scraped, type, labels, meaning; in order of names."""
    found = []
    # The library has no public way to tell the labels of a metric that nobody has used yet.
    for collector in registry._collector_to_names:
        for family in collector.collect():
            if family.name.startswith("microcinema_"):
                labels = getattr(family, "_labelnames", ()) or getattr(collector, "_labelnames", ())
                name = family.name + ("_total" if family.type == "counter" else "")
                found.append((name, family.type, tuple(labels), family.documentation))
    return iter(sorted(found))


def page() -> str:
    """The whole document."""
    parts = [HEAD]
    for process, registry in registries().items():
        parts.append(f"\n## {process}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
        for name, kind, labels, meaning in rows(registry):
            told = ", ".join(f"`{label}`" for label in labels)
            parts.append(f"| `{name}` | {kind} | {told} | {meaning} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
