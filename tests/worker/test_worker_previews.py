"""What is shown of a video while it is made: soon, small, judged, and never at the steps' cost."""

import base64
import dataclasses
import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image
from redis.exceptions import ConnectionError as RedisAway

from models.orders import Progress
from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import Stage, State
from service.contracts.preview import Preview, Shows
from service.store.errors import StoreUnavailable
from worker.attempt import Attempt
from worker.events import ContentWithheld, PreviewMissed, StoreUnreachable
from worker.film.previews import SHARE, Previews, picture_of
from worker.main import Worker
from worker.moderation import Checkers, Moderator
from worker.watchdog import Pulse

IMAGE_TO_VIDEO = "image_to_video"


def noise(step: int, row: int, side: int = 32) -> Any:
    """Four frames, different for each step and order, and hard to compress."""
    return np.random.default_rng([step, row]).integers(0, 256, (4, side // 2, side, 3), dtype=np.uint8)


def opened(preview: Preview) -> Any:
    return Image.open(io.BytesIO(base64.b64decode(preview.picture)))


def kept(ward: Any, job_id: str = "video_a") -> list[tuple[str, Preview]]:
    entries = ward.connect().xrange(REDIS_KEYS["PREVIEW"] + job_id)
    return [(place.decode(), Preview.model_validate_json(said[b"facts"])) for place, said in entries]


def watched(
    ward: Any, worker: Worker, *job_ids: str, stage: str = IMAGE_TO_VIDEO
) -> dict[tuple[int, str], list[tuple[str, Preview]]]:
    """Has each step of a stage look at what is kept of each job by then."""
    seen: dict[tuple[int, str], list[tuple[str, Preview]]] = {}

    def look(step: int) -> None:
        worker.previews.flush()
        for job_id in job_ids:
            seen[step, job_id] = kept(ward, job_id)

    for step in range(1, 7):
        ward.renderer.at[stage, step] = lambda step=step: look(step)
    return seen


def test_keyframe_and_then_the_video_are_shown_and_the_newest_alone_is_kept(ward: Any) -> None:
    ward.renderer.sight = noise
    clock = iter(range(0, 10_000, 2)).__next__  # every look at it is two seconds later: it is always time
    worker = ward.worker(clock=clock, lease_s=3600.0, attempt_limit_s=9000.0, preview_every_s=1.0)
    seen = watched(ward, worker, "video_a")
    ward.submit()
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    ((place, keyframe),) = seen[1, "video_a"]
    assert (place, keyframe.shows, keyframe.frames) == ("1-1", Shows.KEYFRAME, 1)
    assert np.asarray(opened(keyframe))[0, 0] == pytest.approx(
        [7, 7, 7], abs=3
    )  # painted as grey as the seed
    ((place, video),) = seen[2, "video_a"]
    assert (place, video.shows, video.step, video.steps) == ("1-2", Shows.VIDEO, 1, 6)
    picture = opened(video)
    assert (picture.size, picture.n_frames, video.frames) == ((32, 16), 4, 4)
    assert kept(ward) == []


def test_the_picture_is_shown_while_it_is_painted(ward: Any) -> None:
    ward.renderer.sketch = lambda step, _: np.full((1, 16, 32, 3), 40 * step, np.uint8)
    clock = iter(range(0, 10_000, 2)).__next__
    worker = ward.worker(clock=clock, lease_s=3600.0, attempt_limit_s=9000.0, preview_every_s=1.0)
    seen = watched(ward, worker, "video_a", stage="text_to_image")
    ward.submit()
    worker.engine.run_ticket()
    assert seen[1, "video_a"] == []
    ((place, preview),) = seen[2, "video_a"]
    assert (place, preview.shows, preview.step, preview.steps) == ("1-1", Shows.PICTURE, 1, 3)
    assert np.asarray(opened(preview))[8, 8, 0] == pytest.approx(40, abs=4)


def test_what_cannot_be_seen_yet_is_looked_for_again_at_the_next_step(ward: Any) -> None:
    """Orders that a model takes one after the other: of those not at work there is nothing to see."""
    ward.renderer.sight = lambda step, row: None if step < 4 else noise(step, row)
    worker = ward.worker()
    seen = watched(ward, worker, "video_a")
    ward.submit()
    worker.engine.run_ticket()
    assert [preview.shows for _, preview in seen[4, "video_a"]] == [Shows.KEYFRAME]
    ((_, preview),) = seen[5, "video_a"]
    assert (preview.shows, preview.step) == (Shows.VIDEO, 4)
    assert ward.heard(PreviewMissed) == []


def test_each_job_of_a_batch_shows_its_own(ward: Any) -> None:
    ward.renderer.sight = lambda _, row: np.full((1, 16, 32, 3), 100 * (row + 1), np.uint8)
    worker = ward.worker(max_batch=2)
    seen = watched(ward, worker, "video_a", "video_b")
    ward.submit("video_a"), ward.submit("video_b")
    worker.engine.run_ticket()
    assert len(ward.renderer.animated[0]) == 2
    levels = [np.asarray(opened(seen[2, job_id][0][1]))[8, 8, 0] for job_id in ("video_a", "video_b")]
    assert levels == pytest.approx([100, 200], abs=4)


def test_the_attempt_that_goes_on_shows_from_where_it_goes_on(ward: Any) -> None:
    ward.renderer.sight = noise
    leave = threading.Event()
    first = ward.worker(checkpoint_every_s=0.0, lease_s=60.0)
    ward.renderer.at = {(IMAGE_TO_VIDEO, 4): first._parts.leave.set}
    ward.submit()
    first.engine.run_ticket()
    first.previews.flush()
    assert (ward.job().state, leave.is_set()) == (State.QUEUED, False)
    assert [place for place, _ in kept(ward)] == ["1-2"]
    second = ward.worker("w2", lease_s=60.0)
    seen = watched(ward, second, "video_a")
    second.engine.run_ticket()
    ((place, preview),) = seen[6, "video_a"]
    assert (place, preview.shows) == ("2-2", Shows.VIDEO)
    assert preview.step >= 4


def checked(ward: Any, checker: Any) -> Worker:
    parts = dataclasses.replace(ward.parts(), checkers=Checkers(picture={"k": checker}))
    ward.workers.append(Worker(parts, parts.plan(), ward.load(), Pulse()))
    return ward.workers[-1]


def against_bright(picture: Any) -> str | None:
    return "bright" if picture.max() > 100 else None


def broken(picture: Any) -> str | None:
    if picture.max() > 100:
        raise ValueError("no idea")
    return None


@pytest.mark.parametrize("checker", [against_bright, broken])
def test_what_a_checker_does_not_let_pass_is_not_shown_and_costs_no_job(ward: Any, checker: Any) -> None:
    """One frame of four is bright; the keyframe is not."""
    levels = np.array([9, 9, 200, 9], np.uint8).reshape(4, 1, 1, 1)
    ward.renderer.sight = lambda *_: levels * np.ones((1, 16, 32, 3), np.uint8)
    worker = checked(ward, checker)
    seen = watched(ward, worker, "video_a")
    ward.submit()
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert [preview.shows for _, preview in seen[6, "video_a"]] == [Shows.KEYFRAME]
    assert len(ward.heard(PreviewMissed)) == 1, "it does not look again"
    assert [told.what for told in ward.heard(ContentWithheld)] == ["preview"] * (checker is against_bright)


def test_a_refused_keyframe_is_not_shown(ward: Any) -> None:
    worker = checked(ward, against_bright)
    ward.submit(seed=150)
    worker.engine.run_ticket()
    worker.previews.flush()
    assert ward.job().state is State.FAILED
    assert kept(ward) == []


def test_a_look_that_fails_costs_no_job_and_is_not_repeated(ward: Any) -> None:
    looks: list[int] = []

    def fail(step: int, row: int) -> Any:
        looks.append(step)
        raise RuntimeError("the autoencoder made pixels that are not finite")

    ward.renderer.sight = fail
    worker = ward.worker()
    ward.submit()
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    assert looks == [1]
    assert "not finite" in ward.heard(PreviewMissed)[0].reason


def test_0_bytes_are_no_previews(ward: Any) -> None:
    looks: list[int] = []
    ward.renderer.sight = lambda step, row: looks.append(step) or noise(step, row)
    worker = ward.worker(preview_bytes=0)
    seen = watched(ward, worker, "video_a")
    ward.submit()
    worker.engine.run_ticket()
    assert (looks, seen[6, "video_a"]) == ([], [])


class Bench:
    """Previews alone, with a clock that stands still unless it is pushed."""

    def __init__(self, ward: Any, show: Any, max_bytes: int = 65_536) -> None:
        self.now, self.told = 0.0, []
        moderator = Moderator(Checkers(), self.told.append)
        self.previews = Previews(
            show,
            moderator,
            max_bytes=max_bytes,
            every_s=1.0,
            tell=self.told.append,
            clock=lambda: self.now,
            pulse=Pulse(),
        )
        ward.submit()
        (claim,) = ward.store.claim("default", "w1", 1, 60.0, ["fake"])
        self.attempt = Attempt(claim.job, claim.attempt, 0.0)

    def reach(self, step: int, cost_s: float = 0.0, company: int = 1) -> None:
        def look(row: int) -> Any:
            self.now += cost_s
            return noise(step, row)

        self.previews.reached(self.attempt, Stage.IMAGE_TO_VIDEO, Progress(step, 99, look=look), 0, company)


def test_a_record_that_hangs_drops_pictures_and_holds_up_no_step(ward: Any) -> None:
    answers, asked = threading.Event(), threading.Event()
    steps: list[int] = []

    def hang(_job: str, _attempt: int, _number: int, preview: Preview) -> bool:
        steps.append(preview.step)
        asked.set()
        return answers.wait(60)

    bench = Bench(ward, hang)
    try:
        bench.reach(1)
        assert asked.wait(30)
        for step in range(2, 50):  # would never return, if it waited
            bench.now += 2.0
            bench.reach(step)
    finally:
        answers.set()
    bench.previews.flush()
    assert steps == [1, 49]


def test_a_record_that_is_away_is_left_alone_for_a_while(ward: Any) -> None:
    tries: list[int] = []

    def away(_job: str, _attempt: int, number: int, _preview: Preview) -> bool:
        tries.append(number)
        raise StoreUnavailable("gone") from RedisAway()

    bench = Bench(ward, away)
    for step, now in ((1, 0.0), (2, 1.5), (3, 4.0)):
        bench.now = now
        bench.reach(step)
        bench.previews.flush()
    assert tries == [1, 3]
    assert [type(told) for told in bench.told] == [StoreUnreachable] * 2


def test_looking_takes_no_more_than_its_share_of_the_time(ward: Any) -> None:
    """Dear looks come seldom, cheap ones once a second; those of a batch share the share."""
    steps: list[float] = []
    bench = Bench(ward, lambda *_: True)
    for company in (1, 4):
        steps.clear()
        bench.previews.close([bench.attempt])
        bench.now = 0.0
        while bench.now < 1000:
            before = bench.now
            bench.reach(1, cost_s=0.5, company=company)
            steps.append(bench.now - before)
            bench.now += 0.25
        assert sum(steps) > 0
        assert sum(steps) * company <= 1000 * SHARE * 1.1 + 0.5 * company
    bench.previews.close([bench.attempt])
    looks = 0
    for _ in range(40):
        before = bench.now
        bench.reach(1, cost_s=0.001)
        looks += bench.now > before
        bench.now += 0.25
    assert 8 <= looks <= 11


@pytest.mark.parametrize(("max_bytes", "frames"), [(65_536, 4), (16_384, 1), (50, 0)])
def test_a_preview_fits_or_is_not_made(max_bytes: int, frames: int) -> None:
    preview = picture_of(Shows.VIDEO, 1, 2, noise(0, 0, side=512), max_bytes)
    if preview is None:
        assert frames == 0
        return
    assert len(base64.b64decode(preview.picture)) <= max_bytes
    assert (opened(preview).n_frames, opened(preview).size) == (frames, (256, 128))
