"""What the notifier counts of a try."""

from prometheus_client import CollectorRegistry

from service.contracts.event import Event
from service.notifier.delivery import Answer, Tried
from service.notifier.metrics import NotifierMetrics
from service.store.deliveries import Delivery, Settlement, Verdict


def tried(verdict: Verdict, created_at: float, forgiven: int = 0) -> Tried:
    event = Event(
        id="evt_a_1", seq=1, type="video.completed", job_id="a", tenant="t", created_at=created_at, data={}
    )
    delivery = Delivery(event, "https://a.example/x", "https://a.example:443", 1, forgiven)
    return Tried(delivery, Answer(200, ""), Settlement(verdict, ""), 0.1)


def test_lag_is_from_the_event_to_its_delivery_and_never_below_nothing():
    registry = CollectorRegistry()
    metrics = NotifierMetrics(registry, clock=lambda: 1000.0)

    def lag(part: str) -> float | None:
        return registry.get_sample_value(f"microcinema_webhook_lag_seconds_{part}")

    metrics.tried(tried(Verdict.DELIVERED, 990.0))
    assert (lag("count"), lag("sum")) == (1, 10)
    metrics.tried(tried(Verdict.DELIVERED, 1002.0))  # the Redis server's clock is ahead of this host's
    assert (lag("count"), lag("sum")) == (2, 10)
    metrics.tried(tried(Verdict.RETRY, 500.0))
    metrics.tried(tried(Verdict.DELIVERED, 500.0, forgiven=3))  # sent again by hand: no lag of ours
    assert (lag("count"), lag("sum")) == (2, 10)
