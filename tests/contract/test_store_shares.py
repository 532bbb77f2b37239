"""Whose the GPUs were of late: told by rank to metrics, by name to operators."""

import pytest

from service.contracts.lifecycle import Stage
from service.store.controls import ControlStore
from service.store.nouns import Cancelled, Note, Succeeded

HALF_LIFE_S = 1800.0
DAY = 86400.0


@pytest.fixture
def take(scene, make_artifact):
    """A job of this tenant ends, for which an attempt took so many seconds of a GPU."""
    names = iter(range(10_000))

    def taking(tenant: str, seconds: float | None, pool: str = "default") -> None:
        name = f"video_{next(names):05}"
        scene.submit(name, tenant=tenant, pool=pool)
        (claim,) = scene.jobs.claim(pool, "w1", 1, 15.0, ["micro"])
        assert claim.job.id == name
        assert scene.jobs.finish(name, claim.attempt, Succeeded(make_artifact("k")), seconds).accepted

    return taking


@pytest.fixture
def shares(scene):
    def told(pool: str = "default") -> tuple[float, ...]:
        return scene.jobs.snapshot().shares[pool]

    return told


@pytest.fixture
def names(scene):
    """By tenant, its parts of the pools, as operators see them."""
    controls = ControlStore(scene.jobs.store)
    return lambda: {share.tenant: dict(share.taken) for share in controls.shares()}


def test_shares_are_parts_of_what_all_took_the_first_first(take, shares, names):
    for tenant, seconds in (("acme", 1.0), ("zoo", 6.0), ("acme", 1.0)):
        take(tenant, seconds)
    assert shares() == pytest.approx((0.75, 0.25))
    assert names() == {
        "acme": {"default": pytest.approx(0.25)},
        "zoo": {"default": pytest.approx(0.75)},
    }


def test_nothing_taken_is_no_share(scene, take, names):
    scene.submit("video_a")
    assert scene.jobs.snapshot().shares == {"default": ()}
    scene.jobs.cancel("default", "video_a")
    for seconds in (None, 0.0):  # nobody knows, and nothing
        take("acme", seconds)
    assert scene.jobs.snapshot().shares == {"default": ()}
    assert names() == {}


def test_half_an_hour_earlier_counts_half_and_one_half_life_says_so_whatever_the_week(scene, take, shares):
    for _ in range(3):
        take("early", 8.0)
        scene.clock.advance(HALF_LIFE_S)
        take("late", 8.0)
        assert shares() == pytest.approx((2 / 3, 1 / 3), abs=1e-5)
        scene.clock.advance(2.5 * DAY)  # over the end of a week; all before it is next to nothing


def test_the_turn_of_the_week_changes_no_share(scene, take, shares):
    week = 7 * DAY
    scene.clock.advance(week - scene.clock.now % week - HALF_LIFE_S / 2)
    take("early", 8.0)
    scene.clock.advance(HALF_LIFE_S)  # the turn is in the middle
    take("late", 8.0)
    assert shares() == pytest.approx((2 / 3, 1 / 3), abs=1e-5)


def test_a_clock_that_is_set_back_over_the_turn_still_counts_both(scene, take, shares):
    week = 7 * DAY
    scene.clock.advance(week - scene.clock.now % week + HALF_LIFE_S / 2)
    take("before", 8.0)
    scene.clock.advance(-HALF_LIFE_S)
    take("behind", 8.0)
    assert shares() == pytest.approx((2 / 3, 1 / 3), abs=1e-5)


def test_five_are_told_of_a_thousand_that_are_counted(scene, take, shares, names):
    for number in range(8):
        take(f"tenant{number}", 1.0 + number)
    assert shares() == pytest.approx(tuple(seconds / 36 for seconds in (8, 7, 6, 5, 4)), abs=1e-5)
    assert set(names()) == {f"tenant{number}" for number in (3, 4, 5, 6, 7)}
    crowd = {f"crowd{number}": 1e-9 for number in range(2000)}
    scene.redis.zadd("{mc}:taken:default", crowd)
    take("tenant0", 1.0)
    assert scene.redis.zcard("{mc}:taken:default") == 1000
    assert len(shares()) == 5


def test_pools_are_told_apart_and_forgotten_when_a_day_went_by(scene, take, shares):
    take("acme", 1.0)
    take("zoo", 1.0, pool="large")
    assert (shares("default"), shares("large")) == ((1.0,), (1.0,))
    for key in ("{mc}:taken:default", "{mc}:taken-in-all:default"):
        assert 0 < scene.redis.ttl(key) <= DAY


def test_candidates_are_counted_once_however_their_job_ends(scene, take, shares):
    scene.running("video_gate", tenant="zoo")
    scene.jobs.note("video_gate", 1, Note(Stage.TEXT_TO_IMAGE, 1, 4, 10))
    scene.jobs.hold("video_gate", 1, 60.0, {"gpu_seconds": 2.0})
    take("acme", 2.0)
    assert shares() == (1.0,)
    scene.jobs.cancel("zoo", "video_gate")
    assert shares() == pytest.approx((0.5, 0.5))
    assert scene.jobs.finish("video_gate", 1, Cancelled(), 2.0).accepted is False
    assert shares() == pytest.approx((0.5, 0.5))


def test_waiting_tenants_are_counted_once_each(scene):
    for number, tenant in enumerate(("acme", "acme", "zoo")):
        scene.submit(f"video_{number}", tenant=tenant)
    assert scene.jobs.snapshot().pools["default"].waiting_tenants == 2
