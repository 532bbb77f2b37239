"""The courier on a real Valkey and real receivers: every event arrives, once where it can be helped."""

import itertools
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rig.processes import free_ports, wait_until
from rig.valkey import answers, valkey

from service.notifier.backoff import Backoff
from service.notifier.delivery import Courier, Limits, Tried
from service.notifier.post import Answer, Poster
from service.notifier.signing import Signer
from service.ssrf import Guard, pinned_client
from service.store.connections import connect_sync
from service.store.deliveries import Delivery, DeliveryStore, Settlement, Verdict
from service.store.errors import StoreUnavailable
from service.store.script import Store
from service.store.store import JobStore

QUICK = Backoff((0.05, 0.1), jitter=0)


class Desk:
    """A courier together with the facts that it told."""

    def __init__(self, deliveries: DeliveryStore, posts, backoff: Backoff, limits: Limits) -> None:
        self.facts: list[Tried] = []
        self.deliveries = deliveries
        self.courier = Courier(deliveries, posts, backoff, limits, self.facts.append)
        self.courier.start()
        self.open = True

    def close(self, grace_s: float = 5.0) -> None:
        if self.open:
            self.open = False
            self.courier.stop(grace_s)

    def verdicts(self) -> list[Verdict]:
        return [fact.settlement.verdict for fact in self.facts]

    def work_until(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        """What tickets do: serve again and again."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"not done after {seconds} s: {self.facts}"
            self.deliveries.relay()
            self.courier.serve(0.1)
            time.sleep(0.01)


@pytest.fixture
def later() -> Iterator[threading.Event]:
    """What a slow receiver waits for; the end of the test lets it go."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def open_desk(deliveries, signer) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def opened(backoff: Backoff = QUICK, posts=None, store=None, timeout_s: float = 2.0, **limits) -> Desk:
        client = pinned_client(Guard(allow_private=True), connect_timeout_s=1, timeout_s=timeout_s)
        # Every try of a test gets a second of its own, as tries in service have.
        seconds = itertools.count(int(time.time()))
        posts = posts or Poster(client, signer, timeout_s, clock=lambda: next(seconds))
        desks.append(Desk(store or deliveries, posts, backoff, replace(Limits(), **limits)))
        return desks[-1]

    yield opened
    for desk in desks:
        desk.close()


def test_500_500_200_are_three_tries_of_one_event(open_desk, inbox, Reply, happen, verify) -> None:
    inbox.replies = [Reply(500), Reply(500), Reply(200)]
    event_id = happen(inbox.url)
    desk = open_desk()
    desk.work_until(lambda: len(desk.facts) == 3)
    assert desk.verdicts() == [Verdict.RETRY, Verdict.RETRY, Verdict.DELIVERED]
    assert {letter.id for letter in inbox.letters} == {event_id}
    assert len({letter.headers["webhook-timestamp"] for letter in inbox.letters}) == 3
    assert len({letter.headers["webhook-signature"] for letter in inbox.letters}) == 3
    assert len({letter.body for letter in inbox.letters}) == 1
    bodies = [verify(letter) for letter in inbox.letters]
    assert bodies[0]["id"] == event_id
    assert bodies[0]["type"] == "video.cancelled"
    desk.deliveries.relay()
    assert desk.courier.serve(0.1) == 0


def test_a_receiver_that_stays_down_ends_as_a_dead_letter(open_desk, happen, redis) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        event_id = happen(f"http://127.0.0.1:{unused.getsockname()[1]}/hook")
        desk = open_desk()
        desk.work_until(lambda: len(desk.facts) == 3)
    assert desk.verdicts() == [Verdict.RETRY, Verdict.RETRY, Verdict.DEAD]
    assert redis.zrange("{mc}:deliveries:dead", 0, -1) == [event_id.encode()]
    reason = redis.hget(f"{{mc}}:delivery:{event_id}", "last_reason").decode()
    assert reason.startswith("ConnectError")
    stands = desk.deliveries.relay()
    assert (stands.waiting, stands.dead) == (0, 1)


def test_410_ends_at_once(open_desk, inbox, Reply, happen) -> None:
    inbox.replies = [Reply(410)]
    happen(inbox.url)
    desk = open_desk()
    desk.work_until(lambda: len(desk.facts) == 1)
    assert desk.verdicts() == [Verdict.GONE]
    assert desk.deliveries.relay().waiting == 0


def test_a_private_address_is_a_dead_letter_at_once(open_desk, inbox, happen, signer) -> None:
    happen(inbox.url)
    guarded = Poster(pinned_client(Guard(), connect_timeout_s=1, timeout_s=1), signer)
    desk = open_desk(posts=guarded)
    desk.work_until(lambda: len(desk.facts) == 1)
    assert desk.verdicts() == [Verdict.DEAD]
    assert inbox.letters == []


def test_retry_after_is_obeyed(open_desk, inbox, Reply, happen) -> None:
    inbox.replies = [Reply(429, {"retry-after": "1"}), Reply(200)]
    happen(inbox.url)
    desk = open_desk()
    desk.work_until(lambda: len(desk.facts) == 2)
    first, second = inbox.letters
    assert second.at - first.at >= 1.0


def test_a_slow_receiver_delays_nobody_else(open_desk, new_inbox, Reply, happen, later) -> None:
    slow, quick = new_inbox(), new_inbox()
    slow.replies = [Reply(after=later)]
    for _ in range(12):
        happen(slow.url)
    for _ in range(5):
        happen(quick.url)
    desk = open_desk(slots=6, per_endpoint=2, timeout_s=60)
    desk.work_until(lambda: len(quick.letters) == 5)
    assert len(slow.letters) <= 2


def test_with_every_slot_in_use_a_ticket_waits_for_one(open_desk, inbox, Reply, happen, later) -> None:
    inbox.replies = [Reply(after=later)]
    for _ in range(3):
        happen(inbox.url)
    desk = open_desk(slots=2, timeout_s=60)
    desk.deliveries.relay()
    assert desk.courier.serve() == 2
    assert desk.courier.serve(0.05) == 0
    later.set()
    assert desk.courier.serve(30) == 1
    assert desk.courier.settled(30)
    assert desk.verdicts() == [Verdict.DELIVERED] * 3


def test_two_couriers_at_once_deliver_each_event_once(open_desk, inbox, Reply, happen, later) -> None:
    inbox.replies = [Reply(after=later)]
    ids = {happen(inbox.url) for _ in range(30)}
    desks = [open_desk(timeout_s=60), open_desk(timeout_s=60)]
    desks[0].deliveries.relay()
    assert [desk.courier.serve() for desk in desks] == [4, 4]  # both have a share, whoever is quicker
    later.set()
    workers = [
        threading.Thread(target=desk.work_until, args=(lambda: len(inbox.letters) >= 30,)) for desk in desks
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(desk.courier.settled(30) for desk in desks)
    assert Counter(letter.id for letter in inbox.letters) == Counter(ids)


def test_what_a_vanished_courier_held_is_delivered_by_another(open_desk, inbox, happen, deliveries) -> None:
    event_id = happen(inbox.url)
    deliveries.relay()
    (held,) = deliveries.take(10, 0.3, 4, {})
    desk = open_desk()
    desk.work_until(lambda: len(desk.facts) == 1)
    assert (desk.facts[0].delivery.event.id, desk.facts[0].delivery.tries) == (event_id, 2)
    assert not deliveries.settle(event_id, held.tries, Settlement(Verdict.RETRY, "late"), 60)
    assert len(inbox.letters) == 1


def test_a_try_that_trips_a_bug_is_a_failed_try(open_desk, happen) -> None:
    class Buggy:
        async def post(self, delivery: Delivery) -> Answer:
            raise KeyError(delivery.url)

        async def aclose(self) -> None:
            pass

    happen("https://example.com/hook")
    desk = open_desk(posts=Buggy())
    desk.work_until(lambda: len(desk.facts) == 3)
    assert desk.verdicts() == [Verdict.RETRY, Verdict.RETRY, Verdict.DEAD]
    assert desk.facts[0].answer.reason == "the try broke: KeyError"


def test_a_try_that_is_cut_off_at_the_end_comes_up_again(
    open_desk, inbox, Reply, happen, deliveries, later
) -> None:
    inbox.replies = [Reply(after=later), Reply(200)]
    event_id = happen(inbox.url)
    cut_off = open_desk(lease_s=0.5, timeout_s=60)
    deliveries.relay()
    assert cut_off.courier.serve() == 1
    inbox.wait_for(1)
    cut_off.close(grace_s=0.05)
    assert cut_off.facts == []
    desk = open_desk()
    desk.work_until(lambda: len(desk.facts) == 1)
    assert [letter.id for letter in inbox.letters] == [event_id, event_id]


def test_an_outage_of_redis_costs_no_second_post(tmp_path, open_desk, inbox, new_submission, request) -> None:
    """The receiver has the event, Redis dies (SIGKILL) before the outcome is written, and comes back."""
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    server = valkey(tmp_path / "valkey", port).start()
    request.addfinalizer(server.end)
    wait_until(lambda: answers(url), 10, "valkey answers")
    redis = connect_sync(url)
    request.addfinalizer(redis.close)
    store = Store(redis)
    jobs, deliveries = JobStore(store), DeliveryStore(store)
    job_id = f"video_{secrets.token_hex(6)}"
    jobs.submit(new_submission(inbox.url, job_id))
    jobs.cancel("default", job_id)
    deliveries.relay()
    inbox.on_letter = lambda _: server.kill()
    desk = open_desk(store=deliveries)
    assert desk.courier.serve() == 1
    inbox.wait_for(1)
    time.sleep(0.3)
    with pytest.raises(StoreUnavailable):
        desk.courier.serve()
    assert desk.facts == []
    server.start()
    assert desk.courier.settled(30)
    assert desk.verdicts() == [Verdict.DELIVERED]
    assert len(inbox.letters) == 1
    assert deliveries.relay().waiting == 0


def test_both_secrets_verify_while_one_replaces_the_other(open_desk, inbox, happen, secret, verify) -> None:
    newer = Signer(("whsec_" + "bmV3ZXItc2VjcmV0LW9mLW1vcmUtdGhhbi0yNC1ieXRlcw==", secret))
    client = pinned_client(Guard(allow_private=True), connect_timeout_s=1, timeout_s=1)
    event_id = happen(inbox.url)
    desk = open_desk(posts=Poster(client, newer))
    desk.work_until(lambda: len(desk.facts) == 1)
    assert verify(inbox.letters[0])["id"] == event_id
