"""Tenants share GPU seconds, not jobs: estimated at the claim, measured at the end."""

from collections import Counter
from collections.abc import Callable

import pytest

from service.contracts.cost import work_of
from service.contracts.failure import Failure, FailureCode
from service.store.controls import ControlStore
from service.store.nouns import Cancelled, Claim, Failed, Outcome, Succeeded

Seconds = Callable[[Claim], float]


@pytest.fixture
def controls(scene):
    return ControlStore(scene.jobs.store)


@pytest.fixture
def serve(scene, make_artifact):
    """So many claims, each ended before the next; the GPU seconds that each tenant got, job after job."""

    def serving(claims: int, took: Seconds, outcome: Outcome | None = None) -> list[tuple[str, str, float]]:
        served = []
        for _ in range(claims):
            (claim,) = scene.claim()
            seconds = took(claim)
            ended = scene.jobs.finish(
                claim.job.id, claim.attempt, outcome or Succeeded(make_artifact("k")), seconds
            )
            assert ended.accepted
            served.append((claim.job.tenant, claim.job.id, seconds))
        return served

    return serving


def totals(served: list[tuple[str, str, float]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for tenant, _, seconds in served:
        sums[tenant] += seconds
    return sums


def by_work(claim: Claim) -> float:
    """A model that takes 3 s per unit of work, which nobody has told the record."""
    return 3.0 * work_of(claim.job.request)


def fill(scene, tenant: str, jobs: int, **fields) -> None:
    for n in range(jobs):
        scene.submit(f"video_{tenant}{n:03}", tenant=tenant, **{"queue_limit": 1000} | fields)


def test_work_grows_with_steps_frames_pixels_and_guidance(make_submission):
    def work(**fields) -> float:
        return work_of(make_submission("video_a", **fields).request)

    plain = work(width=100, height=50, num_frames=20, num_inference_steps=10, guidance_scale=1.0)
    assert plain == 1.0
    assert work(width=200, height=50, num_frames=40, num_inference_steps=30, guidance_scale=1.5) == 24.0


def test_a_tenant_of_long_videos_gets_fewer_of_them(scene, serve):
    fill(scene, "long", 60, num_inference_steps=40)
    fill(scene, "short", 60, num_inference_steps=4)
    served = serve(55, by_work)
    seconds, jobs = totals(served), Counter(tenant for tenant, _, _ in served)
    assert jobs == {"long": 5, "short": 50}
    assert seconds["long"] == pytest.approx(seconds["short"])


def test_weights_1_to_3_share_gpu_seconds_1_to_3_between_jobs_of_different_cost(scene, controls, serve):
    controls.set_share("heavy", weight=3)
    for n in range(120):
        for tenant, steps in (("heavy", (8, 20)[n % 2]), ("light", (4, 40, 4)[n % 3])):
            name = f"video_{tenant}{n:03}"
            scene.submit(name, tenant=tenant, num_inference_steps=steps, queue_limit=1000)
    seconds = totals(serve(120, by_work))
    assert seconds["heavy"] / seconds["light"] == pytest.approx(3, rel=0.1)


def test_what_was_measured_counts_however_wrong_the_estimates_are(scene, serve):
    """Equal requests, so equal estimates; but one tenant's jobs take ten times as long."""
    fill(scene, "slow", 60)
    fill(scene, "quick", 60)
    seconds = totals(serve(55, lambda claim: 10.0 if claim.job.tenant == "slow" else 1.0))
    assert seconds["slow"] == pytest.approx(seconds["quick"], abs=10.0)


def test_a_job_that_was_called_off_early_costs_what_it_took(scene, serve):
    fill(scene, "fickle", 60, num_inference_steps=40)
    fill(scene, "steady", 60, num_inference_steps=40)
    serve(2, by_work)  # the pace is known from here on
    served = serve(22, lambda claim: by_work(claim) / (10 if claim.job.tenant == "fickle" else 1))
    assert Counter(tenant for tenant, _, _ in served) == {"fickle": 20, "steady": 2}


def test_jobs_that_fail_at_once_do_not_go_first_for_ever(scene, serve):
    fill(scene, "broken", 40)
    fill(scene, "sound", 40)
    broken = Failed(Failure(code=FailureCode.INTERNAL, message="x", retryable=False))
    served = serve(20, lambda _: 0.0, broken)
    assert Counter(tenant for tenant, _, _ in served) == {"broken": 10, "sound": 10}


def test_a_load_of_100_to_1_does_not_delay_the_one_even_if_the_hundred_are_long(scene, serve):
    fill(scene, "big", 99, num_inference_steps=40)
    serve(30, by_work)
    scene.submit("video_small", tenant="small")
    assert "small" in totals(serve(2, by_work))


def test_a_tenant_cannot_hide_behind_many_small_jobs(scene, serve):
    """A hundred small jobs against one large one of equal work: neither waits for all of the other's."""
    fill(scene, "small", 100, num_inference_steps=4)
    fill(scene, "large", 2, num_inference_steps=40)
    order = [job_id for _, job_id, _ in serve(30, by_work)]
    assert 9 <= order.index("video_large001") - order.index("video_large000") <= 12


def test_the_pace_of_a_model_is_learned_from_what_was_measured_and_nothing_else(scene, serve, make_artifact):
    fill(scene, "a", 60)
    assert scene.redis.hgetall("{mc}:paces") == {}
    serve(1, by_work)
    assert float(scene.redis.hget("{mc}:paces", "default:micro")) == pytest.approx(3.0)
    serve(1, lambda _: 1000.0, Cancelled())
    scene.running("video_again", tenant="z", priority=10)
    scene.jobs.release("video_again", 1, "drain")
    (claim,) = scene.claim()
    scene.jobs.finish("video_again", 2, Succeeded(make_artifact("k")), 0.001)
    assert (claim.attempt, claim.job.id) == (2, "video_again")
    scene.jobs.finish(*begun(scene), Succeeded(make_artifact("k")))  # by a worker that does not measure
    assert float(scene.redis.hget("{mc}:paces", "default:micro")) == pytest.approx(3.0)
    serve(40, lambda claim: 2 * by_work(claim))
    assert float(scene.redis.hget("{mc}:paces", "default:micro")) == pytest.approx(6.0, rel=0.01)


def begun(scene) -> tuple[str, int]:
    (claim,) = scene.claim()
    return claim.job.id, claim.attempt


def test_models_are_compared_by_their_own_pace(scene, serve):
    """The same request costs twenty times as much on the large model: one of them against twenty."""
    scene.models = ["micro", "large"]

    def took(claim: Claim) -> float:
        return by_work(claim) * (20 if claim.job.request.model == "large" else 1)

    fill(scene, "rich", 20, model="large")
    fill(scene, "poor", 80)
    serve(4, took)
    served = serve(42, took)
    assert Counter(tenant for tenant, _, _ in served) == {"poor": 40, "rich": 2}


def test_a_refund_does_not_turn_idle_time_into_credit(scene, serve, make_artifact):
    """A claim was charged far too much; its tenant went, others worked, it came back, and then it ended."""
    scene.submit("video_guest", tenant="guest", num_inference_steps=40)
    fill(scene, "host", 60)
    serve(0, by_work)
    guest, attempt = begun(scene)
    assert guest == "video_guest"
    for n in range(20):
        host = scene.jobs.claim("default", f"v{n}", 1, scene.lease_s, ["micro"])[0].job.id
        scene.jobs.finish(host, 1, Cancelled(), 1.0)
    fill(scene, "guest", 20)
    clock = float(scene.redis.get("{mc}:clock:default"))
    scene.jobs.finish(guest, attempt, Cancelled(), 0.0)
    assert scene.redis.zscore("{mc}:tenants:default", "guest") >= clock
    served = serve(20, lambda _: 1.0, Cancelled())
    assert 9 <= Counter(tenant for tenant, _, _ in served)["guest"] <= 11


def test_a_debt_outlives_an_empty_queue(scene, serve):
    scene.submit("video_a", tenant="greedy")
    fill(scene, "modest", 60)
    serve(1, lambda _: 30.0)
    serve(1, lambda _: 1.0)  # the clock goes on; what was measured is still owed
    fill(scene, "greedy", 20)
    tenants = [tenant for tenant, _, _ in serve(25, lambda _: 1.0)]
    assert "greedy" not in tenants


def test_a_tenant_held_back_by_its_cap_makes_up_for_ten_minutes_and_no_more(scene, controls, serve):
    controls.set_share("capped", running_cap=1)
    fill(scene, "capped", 60)
    fill(scene, "free", 60)
    held = begun(scene)
    assert held[0].startswith("video_capped")
    for n in range(20):
        claim = scene.jobs.claim("default", f"v{n}", 1, scene.lease_s, ["micro"])[0]
        scene.jobs.finish(claim.job.id, 1, Cancelled(), 100.0)
    scene.jobs.finish(*held, Cancelled(), 1.0)
    tenants = [tenant for tenant, _, _ in serve(20, lambda _: 100.0, Cancelled())]
    assert tenants[:6] == ["capped"] * 6
    assert 12 <= tenants.count("capped") <= 14


def test_a_long_job_keeps_its_place_before_short_ones_of_its_tenant(scene, serve):
    scene.submit("video_long", num_inference_steps=40)
    fill(scene, "default", 5, num_inference_steps=4)
    order = [job_id for _, job_id, _ in serve(6, by_work)]
    assert order == ["video_long", *(f"video_default{n:03}" for n in range(5))]


def test_a_batch_is_charged_job_by_job(scene, make_artifact):
    """Two tenants, jobs of unequal work that may share a batch: the cheap ones take more of its places."""
    fill(scene, "long", 8, num_inference_steps=12)
    fill(scene, "short", 8, num_inference_steps=4)
    batch = [claim.job.tenant for claim in scene.claim("w1", limit=8)]
    assert Counter(batch) == {"short": 6, "long": 2}
