"""Estimates and ETAs: nothing is foretold before something was measured, and what is foretold is checked."""

from typing import Any

import pytest
from rig.processes import wait_until


def rendered(site: Any, gpu_seconds: float) -> None:
    site.create()
    claim = site.worker.claim()
    assert site.jobs.finish(claim.job.id, claim.attempt, site.worker.film(claim), gpu_seconds).accepted


def test_an_estimate_is_the_request_with_its_defaults_and_accepts_nothing(site: Any) -> None:
    answer = site.client.post("/v1/videos/estimate", json={"prompt": "x", "seconds": "1"})
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "video.estimate",
        "model": "micro",
        "size": "64x64",
        "seconds": "1",
        "num_frames": 8,
        "fps": 8,
        "num_inference_steps": 25,
        "ahead": 0,
        "gpu_seconds": None,
        "eta_p50_seconds": None,
        "eta_p90_seconds": None,
    }
    assert site.client.get("/videos").json()["data"] == []


def test_it_is_held_to_the_bounds_of_a_submission(site: Any) -> None:
    problem = site.problem(422, site.client.post("/videos/estimate", json={"prompt": "x", "fps": 99}))
    assert problem["errors"][0]["field"] == "fps"
    site.problem(422, site.client.post("/videos/estimate", json={"prompt": "x", "model": "none"}))


def test_what_was_measured_is_foretold_by_work_and_place(site: Any) -> None:
    rendered(site, gpu_seconds=10.0)
    whole = site.client.post("/videos/estimate", json={"prompt": "x"}).json()
    half = site.client.post("/videos/estimate", json={"prompt": "x", "num_frames": 8}).json()
    assert whole["gpu_seconds"] == whole["eta_p50_seconds"] == pytest.approx(10)
    assert half["gpu_seconds"] == pytest.approx(5)
    first, second = (site.create()["id"] for _ in range(2))
    queues = [site.client.get(f"/videos/{name}").json()["queue"] for name in (first, second)]
    assert [queue["ahead"] for queue in queues] == [0, 1]
    assert queues[0]["eta_p50_seconds"] == pytest.approx(10)
    assert queues[1]["eta_p50_seconds"] == pytest.approx(25)  # one before it, half of one in hand
    assert queues[0]["eta_p90_seconds"] is None


def test_one_worker_runs_one_of_three_and_the_others_move_up(site: Any) -> None:
    """Nobody is shown as begun who waits, and no place ever gets worse."""
    ids = [site.create()["id"] for _ in range(3)]

    def stand() -> list[tuple[str, int | None]]:
        videos = [site.client.get(f"/videos/{each}").json() for each in ids]
        return [(video["status"], video["queue"] and video["queue"]["ahead"]) for video in videos]

    seen = [stand()]
    for _ in ids:
        claim = site.worker.claim()
        seen.append(stand())
        site.worker.finish(claim, site.worker.film(claim))
    done, runs = ("completed", None), ("in_progress", None)
    assert seen == [
        [("queued", 0), ("queued", 1), ("queued", 2)],
        [runs, ("queued", 0), ("queued", 1)],
        [done, runs, ("queued", 0)],
        [done, done, runs],
    ]


def test_the_error_of_what_was_foretold_is_a_metric_and_corrects_it(site: Any) -> None:
    rendered(site, gpu_seconds=10.0)
    for _ in range(5):
        rendered(site, gpu_seconds=10.0)  # done at once, though ten seconds were foretold
    wait_until(lambda: "microcinema_eta_ratio{" in site.client.get("/metrics").text, 20, "the ratio is shown")
    line = next(
        line
        for line in site.client.get("/metrics").text.splitlines()
        if line.startswith("microcinema_eta_ratio{") and 'share="0.9"' in line
    )
    assert 0 < float(line.split()[-1]) < 1
    after = site.client.post("/videos/estimate", json={"prompt": "x"}).json()
    assert 0 < after["eta_p50_seconds"] <= after["eta_p90_seconds"] < 10
    assert after["gpu_seconds"] == pytest.approx(10)
