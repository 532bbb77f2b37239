"""What may not be made is neither stored, named nor animated; a check that fails passes nothing."""

import dataclasses
from typing import Any

import pytest

from models.abilities import Abilities
from models.spec import FrameRule
from models.video_families import RenderSpec
from service.contracts.failure import FailureCode
from service.contracts.job import OWN_PICTURE
from service.contracts.keys import chosen_picture_key
from service.contracts.lifecycle import State
from service.contracts.request import KeyframeGate
from service.storage.artifact_store import StorageUnavailable
from worker.events import ContentWithheld, Fault
from worker.film.keyframe import picture_artifact
from worker.main import Worker
from worker.moderation import Checkers
from worker.watchdog import Pulse

SECRET = "a finding that only operators read"
INPUT = "default/video_a/input/picture.png"


def no_dragons(prompt: str) -> str | None:
    return SECRET if "dragon" in prompt else None


def no_red(picture: Any) -> str | None:
    """Clients' pictures here are red; painted ones are grey, as bright as the seed."""
    return SECRET if picture[0, 0, 0] >= 100 else None


def nothing(_: Any) -> str:
    return SECRET


def everything(_: Any) -> None:
    return None


def worker_with(ward: Any, prompt: Any = everything, picture: Any = everything, **settings: Any) -> Worker:
    checkers = Checkers({"p": prompt}, {"k": picture})
    parts = dataclasses.replace(ward.parts(**settings), checkers=checkers)
    ward.workers.append(Worker(parts, parts.plan(), ward.load(), Pulse()))
    return ward.workers[-1]


def refused(ward: Any, job_id: str = "video_a") -> Any:
    job = ward.job(job_id)
    assert (job.state, job.failure.code) == (State.FAILED, FailureCode.CONTENT_POLICY)
    assert not job.failure.retryable
    assert SECRET not in job.failure.message
    (told,) = ward.heard(ContentWithheld)
    assert (told.job_id, told.finding) == (job_id, SECRET)
    return job


def test_a_refused_prompt_costs_nothing(ward: Any) -> None:
    worker = worker_with(ward, prompt=no_dragons)
    ward.submit(prompt="a dragon moves left")
    worker.engine.run_ticket()
    refused(ward)
    assert (ward.renderer.painted, ward.objects()) == ([], [])


def test_what_no_checker_minds_becomes_a_video(ward: Any) -> None:
    worker = worker_with(ward, prompt=no_dragons, picture=no_red)
    ward.submit(seed=9)
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert ward.heard(ContentWithheld) == []


def test_a_refused_keyframe_is_neither_stored_nor_animated(ward: Any) -> None:
    worker = worker_with(ward, picture=no_red)
    ward.submit(seed=150)
    worker.engine.run_ticket()
    job = refused(ward)
    assert (job.keyframe, ward.renderer.animated, ward.objects()) == (None, [], [])


def test_refused_candidates_are_not_shown(ward: Any) -> None:
    worker = worker_with(ward, picture=no_red)
    ward.submit(seed=99, gate=KeyframeGate(candidates=3, approval_s=600.0))
    worker.engine.run_ticket()
    job = refused(
        ward
    )  # the first, of seed 99, passed; the second, of 100, did not, and the third was not painted
    assert len(job.candidates) == 1
    assert len(ward.renderer.painted) == 2


def test_a_clients_own_picture_is_judged_before_the_record_names_it(ward: Any) -> None:
    worker = worker_with(ward, picture=no_red)
    ward.submit(input_picture=ward.own_picture())
    worker.engine.run_ticket()
    job = refused(ward)
    assert (job.keyframe, ward.renderer.animated, ward.objects()) == (None, [], [INPUT])


def test_a_picture_that_an_approval_brings_is_judged_too(ward: Any) -> None:
    worker = worker_with(ward, picture=no_red)
    ward.submit(seed=9, gate=KeyframeGate(candidates=1, approval_s=600.0))
    worker.engine.run_ticket()
    sent = ward.own_picture()
    body, key = ward.body(sent.key), chosen_picture_key("default", "video_a", sent.sha256)
    ward.storage.put(key, body, "image/png")
    own = picture_artifact(key, body, 32, 16)
    ward.store.approve("default", "video_a", OWN_PICTURE + own.sha256, own)
    worker.engine.run_ticket()
    refused(ward)
    assert ward.renderer.animated == []


def test_of_a_model_without_keyframes_frames_are_judged(ward: Any) -> None:
    ward.renderer.spec = RenderSpec(
        name="fake",
        sizes=((32, 16),),
        frames=FrameRule(minimum=4, maximum=8, default=4),
        fps=8,
        video_steps=6,
        video_guidance=5.0,
        abilities=Abilities(keyframe=None, paints=True, negative_prompt=True, noise_prior=False),
        description="for tests",
        license="Apache-2.0",
    )
    worker = worker_with(ward, picture=nothing)
    ward.submit(gamma=0.0)
    worker.engine.run_ticket()
    assert refused(ward).artifact is None
    assert ward.objects() == []


def test_of_jobs_that_run_together_only_the_refused_one_ends(ward: Any) -> None:
    worker = worker_with(ward, picture=no_red, max_batch=2)
    ward.submit("video_a", seed=150)
    ward.submit("video_b", seed=9)
    worker.engine.run_ticket()
    refused(ward)
    assert ward.job("video_b").state is State.SUCCEEDED
    assert [len(orders) for orders in ward.renderer.painted] == [2]
    assert [order.seed for orders in ward.renderer.animated for order in orders] == [9]


def raising(error: Exception) -> Any:
    def check(_: Any) -> str | None:
        raise error

    return check


DEFECTS = {
    "defect": raising(RuntimeError(SECRET)),
    "storage": raising(StorageUnavailable(SECRET)),
    "memory": raising(MemoryError()),
    "not_words": lambda _: True,
}


@pytest.mark.parametrize("what", ["prompt", "picture"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_checker_that_does_not_judge_fails_the_job_for_all_to_see(
    ward: Any, what: str, defect: str
) -> None:
    worker = worker_with(ward, **{what: DEFECTS[defect]})
    ward.submit()
    worker.engine.run_ticket()
    job = ward.job()
    assert (job.state, job.failure.code, job.failure.retryable) == (State.FAILED, FailureCode.INTERNAL, True)
    assert "could not be checked" in job.failure.message
    assert SECRET not in job.failure.message
    assert len(ward.heard(Fault)) == 1
    assert (ward.objects(), ward.renderer.animated) == ([], [])
