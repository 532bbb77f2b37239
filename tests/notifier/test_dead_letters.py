"""Webhooks that were given up, and sent again by an operator."""

import pytest

from service.cli.dead_letters import DeadLetters
from service.cli.main import main
from service.notifier.backoff import Backoff
from service.notifier.delivery import judge
from service.notifier.post import Answer
from service.store.deliveries import DeadLetter, Settlement, Verdict

URL = "https://user:pass@Example.com/a/secret/path"
DEAD = Settlement(Verdict.DEAD, "HTTP 500", 500)
KEEP_S = 1000.0


@pytest.fixture
def give_up(timed, happen):
    """A letter whose only try failed for good; answers its event's id."""

    def given_up(url: str = URL, status: int | None = 500) -> str:
        event_id = happen(url)
        timed.relay()
        (delivery,) = timed.take(10, 60.0, 100, {})
        assert timed.settle(event_id, delivery.tries, Settlement(Verdict.DEAD, "it broke", status), KEEP_S)
        return event_id

    return given_up


def test_dead_letters_are_listed_without_what_may_be_secret(timed, give_up, server_clock) -> None:
    first = give_up()
    server_clock.advance(1)
    second = give_up(status=None)
    oldest, newest = timed.dead()
    assert (oldest.event_id, newest.event_id) == (first, second)
    job_id = first.removeprefix("evt_").rpartition("_")[0]
    assert oldest == DeadLetter(
        first, "video.cancelled", job_id, "https://example.com", 1, 500, "it broke", server_clock.now - 1
    )
    assert newest.status is None
    assert timed.dead(1) == (oldest,)
    (line, _) = DeadLetters(timed).lines()
    assert "secret" not in line
    assert first in line


def test_a_letter_sent_again_has_all_its_tries_before_it(timed, give_up, redis) -> None:
    event_id = give_up()
    assert timed.redeliver(event_id)
    stands = timed.relay()
    assert (stands.due, stands.waiting, stands.dead) == (1, 1, 0)
    assert redis.ttl(f"{{mc}}:delivery:{event_id}") == -1  # it waits again: its record must not run out
    (again,) = timed.take(10, 60.0, 100, {})
    assert (again.event.id, again.url) == (event_id, URL)
    settlement = judge(again, Answer(500, "HTTP 500"), Backoff((7.0,), jitter=0.0))
    assert (settlement.verdict, settlement.delay_s) == (Verdict.RETRY, 7.0)


def test_the_old_trys_outcome_sent_again_does_not_end_the_new_row(timed, give_up) -> None:
    event_id = give_up()
    timed.redeliver(event_id)
    assert not timed.settle(event_id, 1, DEAD, KEEP_S)
    assert timed.relay().waiting == 1


def test_only_what_is_dead_is_sent_again(timed, happen) -> None:
    waiting = happen(URL)
    timed.relay()
    assert not timed.redeliver(waiting)
    assert not timed.redeliver("evt_none")
    assert timed.relay().waiting == 1
    assert DeadLetters(timed).redeliver(["evt_none", waiting]) == (0, ["evt_none", waiting])


def test_letters_that_are_kept_no_longer_hide_none_behind_them(timed, give_up, redis) -> None:
    gone, kept = give_up(), give_up()
    redis.delete(f"{{mc}}:delivery:{gone}")  # as if its time had run out
    assert [letter.event_id for letter in timed.dead(1)] == [kept]


def test_all_at_once(timed, give_up) -> None:
    for _ in range(3):
        give_up()
    assert DeadLetters(timed).redeliver(None) == (3, [])
    assert timed.dead() == ()
    assert timed.relay().due == 3


def test_the_command(timed, give_up, redis_url, capsys, monkeypatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    event_id = give_up()
    assert main(["webhooks", "dead"]) == 0
    assert event_id in capsys.readouterr().out
    assert main(["webhooks", "redeliver"]) == 2
    assert "--all-dead" in capsys.readouterr().err
    assert main(["webhooks", "redeliver", event_id]) == 0
    assert capsys.readouterr().out == "1 to be delivered again\n"
    assert main(["webhooks", "redeliver", event_id]) == 1
    assert event_id in capsys.readouterr().err
    assert main(["webhooks", "redeliver", "--all-dead"]) == 0
    assert capsys.readouterr().out == "0 to be delivered again\n"


def test_the_command_needs_a_record(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main(["webhooks", "dead", "--state-dir", str(tmp_path)]) == 1
    assert "REDIS_URL is not set" in capsys.readouterr().err
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert main(["webhooks", "dead"]) == 1
    assert "Connection refused" in capsys.readouterr().err
