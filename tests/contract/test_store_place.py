"""How many jobs were queued before one: an estimate of its place."""


def test_the_place_counts_the_jobs_of_the_model_that_were_queued_before(scene):
    for name in "abc":
        scene.submit(f"video_{name}", tenant=name)
        scene.clock.advance(1)
    scene.submit("video_other", model="absent")
    ahead = scene.jobs.ahead(["video_c", "video_a", "video_other"])
    assert {job_id: forecast.ahead for job_id, forecast in ahead.items()} == {
        "video_c": 2,
        "video_a": 0,
        "video_other": 0,
    }
    assert scene.claimed_ids() == ["video_a"]
    assert {
        name: it.ahead for name, it in scene.jobs.ahead(["video_a", "video_c", "video_none"]).items()
    } == {"video_c": 1}
    assert scene.jobs.ahead([]) == {}
