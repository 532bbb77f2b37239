"""When the next try comes, and when there is none."""

import pytest

from service.contracts.event import Event
from service.notifier.backoff import DEFAULT_DELAYS_S, Backoff
from service.notifier.delivery import judge
from service.notifier.post import Answer
from service.store.deliveries import Delivery, Verdict


def test_each_failed_try_waits_longer_until_the_last() -> None:
    backoff = Backoff(draw=lambda: 0.5)
    waits = [backoff.wait_s(tries) for tries in range(1, len(DEFAULT_DELAYS_S) + 2)]
    assert waits == [*DEFAULT_DELAYS_S, None]
    assert sorted(DEFAULT_DELAYS_S) == list(DEFAULT_DELAYS_S)


@pytest.mark.parametrize(("drawn", "wait_s"), [(0.0, 80.0), (0.25, 90.0), (0.5, 100.0), (1.0, 120.0)])
def test_jitter_spreads_by_its_share(drawn: float, wait_s: float) -> None:
    assert Backoff((100.0,), jitter=0.2, draw=lambda: drawn).wait_s(1) == pytest.approx(wait_s)


def test_the_receiver_may_ask_for_longer_but_not_for_shorter() -> None:
    backoff = Backoff((100.0,), jitter=0)
    assert backoff.wait_s(1, at_least_s=250) == 250
    assert backoff.wait_s(1, at_least_s=2) == 100


EVENT = Event(
    id="evt_video_1_3",
    seq=3,
    type="video.failed",
    job_id="video_1",
    tenant="default",
    created_at=1.0,
    data={},
)
ANSWERS = [
    (Answer(200, "delivered"), 1, Verdict.DELIVERED),
    (Answer(204, "delivered"), 9, Verdict.DELIVERED),
    (Answer(410, "HTTP 410"), 1, Verdict.GONE),
    (Answer(302, "HTTP 302"), 1, Verdict.RETRY),
    (Answer(400, "HTTP 400"), 1, Verdict.RETRY),
    (Answer(500, "HTTP 500"), 2, Verdict.RETRY),
    (Answer(500, "HTTP 500"), 3, Verdict.DEAD),
    (Answer(None, "no answer"), 1, Verdict.RETRY),
    (Answer(None, "no answer"), 3, Verdict.DEAD),
    (Answer(None, "refused", hopeless=True), 1, Verdict.DEAD),
]


@pytest.mark.parametrize(("answer", "tries", "verdict"), ANSWERS)
def test_the_verdict_follows_from_answer_and_tries(answer: Answer, tries: int, verdict: Verdict) -> None:
    settlement = judge(Delivery(EVENT, "https://a.example", "", tries), answer, Backoff((1.0, 2.0)))
    assert (settlement.verdict, settlement.status) == (verdict, answer.status)
    assert settlement.reason == answer.reason
    assert (settlement.delay_s > 0) == (verdict is Verdict.RETRY)
