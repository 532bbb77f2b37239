"""What GET /models says of a model beyond its bounds: what its last videos took on this fleet."""

from typing import Any


def measured(site: Any) -> Any:
    (model,) = site.client.get("/v1/models").json()["data"]
    return model["measured"]


def test_nothing_is_said_before_it_was_measured(site: Any) -> None:
    assert measured(site) is None
    site.create()
    claim = site.worker.claim()
    site.worker.paint(claim)
    assert measured(site) is None


def test_the_middle_of_what_videos_took_and_of_how_many(site: Any) -> None:
    """Held against the record's own times."""
    took = []
    for count in range(1, 6):
        site.create()
        job = site.jobs.get("default", render(site))
        took.append(job.completed_at - job.started_at)
        said = measured(site)
        assert said["videos"] == count
        middle = sorted(took)[(count - 1) // 2]
        assert abs(said["render_p50_seconds"] - middle) < 0.01


def render(site: Any) -> str:
    """As FakeWorker does, but told what it took of a GPU, as workers tell it."""
    claim = site.worker.claim()
    site.worker.paint(claim)
    done = site.worker.film(claim)
    assert site.jobs.finish(claim.job.id, claim.attempt, done, gpu_seconds=1.5).accepted
    video_id: str = claim.job.id
    return video_id
