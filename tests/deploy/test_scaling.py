"""The shipped scaling rule against a burst, a steady stream and idleness: no work lost, backlog bounded.

Loads that are made, by a fixed seed, and one that was recorded of a real service with one worker
(rig/record_load.py), against which the simulation itself is held first.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import yaml
from rig.autoscaling import SYNC_S, Fleet, Job, Rule
from rig.recorded_load import RecordedLoad

ROOT = Path(__file__).parents[2]
RULE = Rule.of(yaml.safe_load((ROOT / "deploy/kubernetes/scaling/worker.yaml").read_text()))
COLD_S, JOB_S, CHECKPOINT_S = 120.0, 30.0, 10.0
HOUR = 3600


def fleet(grace_s: float = 540.0) -> Fleet:
    return Fleet(RULE, COLD_S, grace_s, CHECKPOINT_S)


def poisson(per_hour: float, began: float, ended: float, seed: int) -> list[Job]:
    draw, jobs, now = random.Random(seed), [], began
    while (now := now + draw.expovariate(per_hour / HOUR)) < ended:
        jobs.append(Job(now, draw.uniform(0.5, 1.5) * JOB_S))
    return jobs


def waits(jobs: list[Job]) -> list[float]:
    return sorted(job.ended - job.came for job in jobs)


def test_a_burst_is_worked_off_by_all_workers_and_then_they_go():
    jobs = [Job(60, JOB_S) for _ in range(200)]
    played = fleet()
    played.play(jobs, 2 * HOUR)
    assert all(job.ended < math.inf for job in jobs)
    most = max(workers for _, workers, _, _ in played.seen)
    assert most == RULE.most
    ideal = 60 + COLD_S + 200 * JOB_S / RULE.most
    assert max(job.ended for job in jobs) <= ideal + 150  # four workers a minute: not all at once
    assert played.seen[-1][1:] == (0, 0, 0)  # scaled to none
    assert sum(job.lost_s for job in jobs) == 0


def test_a_steady_stream_is_kept_up_with():
    jobs = poisson(per_hour=0.6 * RULE.most * HOUR / JOB_S, began=0, ended=3 * HOUR, seed=7)
    played = fleet()
    played.play(jobs, 4 * HOUR)
    assert all(job.ended < math.inf for job in jobs)
    settled = [waiting for at, _, waiting, _ in played.seen if 1800 < at < 3 * HOUR]
    assert max(settled) <= 3 * RULE.most
    found = waits([job for job in jobs if job.came > 1800])
    assert found[int(0.95 * len(found))] <= 4 * JOB_S
    assert sum(job.lost_s for job in jobs) == 0  # nobody is killed: 540 s outlast a job


def test_idleness_costs_no_card_and_one_cold_start():
    jobs = [Job(at, JOB_S) for at in range(600, 6 * HOUR, 2 * HOUR)]
    played = fleet()
    played.play(jobs, 7 * HOUR)
    assert all(wait <= COLD_S + JOB_S + 2 * 15 for wait in waits(jobs))
    share = sum(workers > 0 for _, workers, _, _ in played.seen) / len(played.seen)
    assert share < 0.15


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_worker_that_is_chosen_all_the_same_loses_a_checkpoint_at_most(seed):
    # Minutes of work per job, seconds to go: hand-overs are sure to happen.
    draw = random.Random(seed)
    jobs = [Job(draw.uniform(0, 4 * HOUR), draw.uniform(120, 900)) for _ in range(120)]
    work = sum(job.left_s for job in jobs)
    played = fleet(grace_s=12.0)
    played.play(jobs, 12 * HOUR)
    assert all(job.ended < math.inf for job in jobs)
    assert played.handed_over > 0
    assert sum(job.lost_s for job in jobs) < 0.05 * work


def test_it_never_asks_for_fewer_workers_than_are_busy():
    for running in range(RULE.most + 1):
        assert RULE.wish(running, 0.0, 0) == running
        assert RULE.wish(running, 61.0, 1) >= min(running + 1, RULE.most)
    assert RULE.wish(0, 0.001, 1) == 1  # a model that was never measured
    assert RULE.wish(0, 0.0, 0) == 0


# ---- as it was recorded ----


@pytest.fixture(scope="module")
def recorded() -> RecordedLoad:
    return RecordedLoad.read()


def test_the_simulation_goes_as_a_real_worker_went(recorded):
    tick = 0.1  # s: it thinks in whole seconds, and jobs of three of them were recorded
    jobs = recorded.stretched(1 / tick)
    one = Fleet(Rule(1, 1, HOUR, HOUR, 1, 1, RULE.seconds_per_worker), 0.0, math.inf, 0.0)
    one.play(jobs, (recorded.jobs[-1][2] + 10) / tick)
    apart = [abs(job.ended * tick - ended) for job, (_, _, ended, _) in zip(jobs, recorded.jobs, strict=True)]
    assert max(apart) < 3
    simulated = [row[2] for row in one.seen]
    apart = [abs(simulated[round(at / tick / SYNC_S)] - ready) for at, ready, _, _ in recorded.seen if at > 3]
    assert sum(apart) / len(apart) < 0.5  # of up to 41 that waited


def test_what_the_gateway_took_to_be_waiting_was_nearly_what_waited(recorded):
    pairs = [(told, recorded.waiting_gpu_s(at)) for at, _, _, told in recorded.seen if at > 0]
    assert max(told for told, _ in pairs) > 2 * RULE.seconds_per_worker
    assert sum(abs(told - real) for told, real in pairs) < 0.2 * sum(real for _, real in pairs)


def test_the_recorded_load_is_worked_off_and_no_card_stays(recorded):
    slower = JOB_S / recorded.mean_gpu_s
    jobs = recorded.stretched(slower)
    work_s, last = sum(job.left_s for job in jobs), jobs[-1].came
    played = fleet()
    played.play(jobs, last + HOUR)
    assert all(job.ended < math.inf for job in jobs)
    assert sum(job.lost_s for job in jobs) == 0
    assert max(workers for _, workers, _, _ in played.seen) == RULE.most
    assert max(waiting for _, _, waiting, _ in played.seen) == 24  # the burst; the stream is kept up with
    assert waits(jobs)[-1] < COLD_S + 24 * JOB_S / RULE.most + 150
    assert played.seen[-1][1] == 0
    assert sum(row[1] for row in played.seen) * SYNC_S < 6 * work_s  # what bursts cost: workers go one by one
