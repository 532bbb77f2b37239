"""One scrape for all workers of a host: what each tells, with its place, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from worker.host.whole import ask

PLACE = "place"


class CrewMetrics(Collector):
    """`places`: the address of each worker's probes by its name; a worker that does not answer has no series.

    `restarts`: how often each was started again. `given_up`: which are not started any more.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        restarts: Callable[[], Mapping[str, int]],
        given_up: Callable[[], Iterable[str]],
    ) -> None:
        self._places, self._restarts, self._given_up = dict(places), restarts, given_up

    def describe(self) -> Iterable[Metric]:
        """None ahead of time: they are the workers' to name."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Asks every worker at once, within the time of one probe."""
        again = CounterMetricFamily(
            "microcinema_worker_restarts",
            "How often the worker in this place was started again after it had ended.",
            labels=[PLACE],
        )
        gone = GaugeMetricFamily(
            "microcinema_worker_given_up",
            "1 where a worker fell too often, or cannot use its settings, and is not started any more.",
            labels=[PLACE],
        )
        given_up = set(self._given_up())
        for place, restarts in self._restarts().items():
            again.add_metric([place], restarts)
            gone.add_metric([place], float(place in given_up))
        with ThreadPoolExecutor(max_workers=max(1, len(self._places))) as at_once:
            texts = zip(self._places, at_once.map(_metrics_of, self._places.values()), strict=True)
        return [again, gone, *_joined(texts)]


def _metrics_of(address: str) -> str:
    try:
        return ask(f"{address}/metrics").decode()
    except (OSError, ValueError):  # it starts, hangs or has ended: /readyz says so
        return ""


def _joined(texts: Iterable[tuple[str, str]]) -> list[Metric]:
    """One family of each name; every sample has the place that it comes from."""
    families: dict[str, Metric] = {}
    for place, text in texts:
        for family in text_string_to_metric_families(text):
            whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                whole.samples.append(sample._replace(labels={**sample.labels, PLACE: place}))
    return list(families.values())
