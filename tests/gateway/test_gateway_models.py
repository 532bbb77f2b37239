"""What GET /models says of a model beyond its bounds: what its last videos took on this fleet."""

from typing import Any

from service.contracts.model_spec import Bounds, FrameBounds


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


ODD = {
    "sizes": ((48, 80), (80, 48)),
    "frames": FrameBounds(min=5, max=21, multiple_of=8, offset=5, default=13),
    "fps": Bounds[int](min=3, max=11, default=7),
    "steps": Bounds[int](min=2, max=17, default=9),
    "guidance_scale": Bounds[float](min=1.5, max=6.25, default=3),
    "gamma": Bounds[float](min=0.01, max=0.03, default=0.02),
    "prompt_max_chars": 37,
    "samplers": ("euler", "heun"),
}
STEPS_BEYOND = {
    "fps": ("fps", 1),
    "steps": ("num_inference_steps", 1),
    "guidance_scale": ("guidance_scale", 0.25),
    "gamma": ("gamma", 0.001),
}


def test_what_is_published_is_what_is_enforced_at_both_ends_and_one_step_beyond(
    site: Any, make_spec: Any
) -> None:
    """Everything that is asked here was read from the list, as a client would."""
    site.worker.announce(make_spec(**ODD))
    (model,) = site.client.get("/models").json()["data"]
    spec = model["spec"]

    def refused(**fields: Any) -> list[str]:
        answer = site.client.post("/videos", json={"prompt": "x", **fields})
        if answer.status_code == 202:
            return []
        return [fault["field"] for fault in site.problem(422, answer)["errors"]]

    for name, (field, step) in STEPS_BEYOND.items():
        low, high = spec[name]["min"], spec[name]["max"]
        for value in (low, high, spec[name]["default"]):
            assert refused(**{field: value}) == [], (field, value)
        for value in (low - step, high + step):
            assert refused(**{field: value}) == [field], (field, value)
    frames = spec["frames"]
    for count in range(frames["min"] - 1, frames["max"] + 2):
        inside = frames["min"] <= count <= frames["max"]
        fits = inside and (count - frames["offset"]) % frames["multiple_of"] == 0
        assert refused(num_frames=count) == ([] if fits else ["num_frames"]), count
    for width, height in spec["sizes"]:
        assert refused(size=f"{width}x{height}") == []
        assert refused(size=f"{width + 8}x{height}") == ["size"]
    assert [refused(sampler=each) for each in (*spec["samplers"], "ddim")] == [[], [], ["sampler"]]
    longest = spec["prompt_max_chars"]
    assert [refused(prompt="x" * length) for length in (longest, longest + 1)] == [[], ["prompt"]]
