"""The janitor deletes what nobody needs, and never what anybody might."""

import secrets
import threading
import time
from pathlib import Path

import pytest
from rig.processes import wait_until
from rig.stored_objects import LEASE_S, StuckStore, begin, keys, stored, succeed

from service.contracts.artifact import Artifact
from service.contracts.failure import Failure, FailureCode
from service.contracts.keys import input_picture_key
from service.contracts.lifecycle import Stage
from service.janitor import Cleared, Janitor, WrongRecord
from service.storage.artifact_store import ArtifactStore, StorageUnavailable
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.store.connections import connect_sync
from service.store.errors import StoreUnavailable
from service.store.nouns import Failed, Note, Succeeded
from service.store.script import Store
from service.store.store import JobStore

OLD_S = 10 * LEASE_S + 1
HOUR_S = 3601.0
FAILED = Failed(Failure(code=FailureCode.INTERNAL, message="it broke", retryable=False))


@pytest.fixture
def artifacts(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "artifacts", LinkSigner(b"sixteen bytes or more", "http://x", time.time))


@pytest.fixture
def janitor(jobs, artifacts, clock) -> Janitor:
    return Janitor(jobs, artifacts, LEASE_S, clock)


def test_a_deleted_job_loses_objects_and_record(janitor, jobs, artifacts, submit) -> None:
    job_id, other = submit(), submit()
    succeed(jobs, artifacts, job_id)
    kept = succeed(jobs, artifacts, other)
    artifacts.put(input_picture_key("default", job_id), b"picture", "image/png")
    jobs.delete("default", job_id)
    assert janitor.clear_doomed() == Cleared(jobs=1, objects=2)
    assert keys(artifacts) == {kept.key}
    assert jobs.record(job_id) is None
    assert jobs.get("default", other) is not None
    assert janitor.clear_doomed() == Cleared()


def test_retention_ends_by_itself(janitor, jobs, artifacts, submit) -> None:
    job_id = submit(retention_s=1.5)
    succeed(jobs, artifacts, job_id)
    assert janitor.clear_doomed() == Cleared()
    gone = []
    wait_until(lambda: gone.append(janitor.clear_doomed()) or gone[-1].jobs == 1, 30, "its time is over")
    assert gone[-1] == Cleared(jobs=1, objects=1)
    assert keys(artifacts) == set()


def test_a_running_job_that_was_deleted_is_left_to_its_worker(janitor, jobs, artifacts, submit) -> None:
    job_id = submit()
    attempt = begin(jobs)
    stored(artifacts, job_id, attempt, "keyframe.png")
    jobs.delete("default", job_id)
    assert janitor.clear_doomed() == Cleared()
    jobs.finish(job_id, attempt, FAILED)
    assert janitor.clear_doomed() == Cleared(jobs=1, objects=1)


def test_a_record_stays_while_its_objects_cannot_be_deleted(jobs, artifacts, submit, janitor) -> None:
    stuck, other = submit(), submit()
    for job_id in (stuck, other):
        succeed(jobs, artifacts, job_id)
        jobs.delete("default", job_id)
    # the one that cannot go does not hold up the one behind it
    assert Janitor(jobs, StuckStore(artifacts, stuck), LEASE_S).clear_doomed() == Cleared(jobs=1, objects=1)
    assert jobs.record(stuck) is not None
    assert jobs.record(other) is None
    assert janitor.clear_doomed() == Cleared(jobs=1, objects=1)


def test_a_storage_that_is_away_ends_the_turn(jobs, artifacts, submit, janitor) -> None:
    doomed = [submit() for _ in range(4)]
    for job_id in doomed:
        succeed(jobs, artifacts, job_id)
        jobs.delete("default", job_id)
    with pytest.raises(StorageUnavailable):
        Janitor(jobs, StuckStore(artifacts), LEASE_S).clear_doomed()
    assert all(jobs.record(job_id) is not None for job_id in doomed)
    assert janitor.clear_doomed() == Cleared(jobs=4, objects=4)


# ---- what attempts left behind -------------------------------------------------------------------------


def lose_first_attempt(jobs: JobStore, artifacts: ArtifactStore, job_id: str) -> tuple[Artifact, Artifact]:
    """Attempt 1 notes a keyframe, stores a video and dies; 2 runs. Answers keyframe and video of 1."""
    attempt = begin(jobs)
    keyframe = stored(artifacts, job_id, attempt, "keyframe.png")
    assert jobs.note(job_id, attempt, Note(Stage.TEXT_TO_IMAGE, 4, 4, 30, keyframe=keyframe))
    video = stored(artifacts, job_id, attempt)
    assert jobs.release(job_id, attempt, "the worker died", counts_as_loss=True)
    assert begin(jobs, "w2") == 2
    return keyframe, video


def test_a_record_that_cannot_be_read_keeps_its_objects_and_holds_no_other_up(
    janitor, jobs, artifacts, submit, clock, redis
) -> None:
    spoiled, other = submit(), submit()
    for job_id in (spoiled, other):
        succeed(jobs, artifacts, job_id)
        stored(artifacts, job_id, 1, "half.mp4")
    redis.hset(f"{{mc}}:job:{spoiled}", "request", "{}")
    clock.ahead = OLD_S
    assert janitor.sweep() == Cleared(objects=1)
    assert {key for key in keys(artifacts) if spoiled in key} == {
        f"default/{spoiled}/1/{name}" for name in ("video.mp4", "half.mp4")
    }
    for job_id in (spoiled, other):
        jobs.delete("default", job_id)
    assert janitor.clear_doomed() == Cleared(jobs=2, objects=3), "which objects are a job's needs no reading"


def test_a_turn_that_breaks_is_not_the_last_one(jobs, artifacts, submit) -> None:
    class Breaks(StuckStore):
        turns = 0

        def list(self, prefix: str):
            self.turns += 1
            if self.turns == 1:
                raise RuntimeError("nobody has foreseen this")
            return super().list(prefix)

    job_id = submit()
    succeed(jobs, artifacts, job_id)
    jobs.delete("default", job_id)
    stop, heard = threading.Event(), []
    janitor = Janitor(jobs, Breaks(artifacts, "no key holds this"), LEASE_S)
    thread = threading.Thread(target=janitor.run, args=(stop, 0.05, 3600.0, heard.append))
    thread.start()
    try:
        wait_until(lambda: any(cleared.jobs == 1 for cleared in heard), 30, "the next turn clears")
    finally:
        stop.set()
        thread.join()


def test_an_old_attempt_loses_what_no_record_names(janitor, jobs, artifacts, submit, clock) -> None:
    job_id = submit()
    keyframe, orphan = lose_first_attempt(jobs, artifacts, job_id)
    current = stored(artifacts, job_id, 2)
    clock.ahead = OLD_S
    assert janitor.sweep() == Cleared(objects=1)
    assert keys(artifacts) == {keyframe.key, current.key}, f"only {orphan.key} goes"


def test_the_video_of_an_attempt_that_still_runs_is_safe_at_any_age(
    janitor, jobs, artifacts, submit, clock
) -> None:
    """Uploaded, and Redis away ever since: its finish is still to come."""
    job_id = submit()
    attempt = begin(jobs)
    video = stored(artifacts, job_id, attempt)
    clock.ahead = 100 * HOUR_S
    assert janitor.sweep() == Cleared()
    assert jobs.finish(job_id, attempt, Succeeded(video, {})).accepted
    assert janitor.sweep() == Cleared()
    assert keys(artifacts) == {video.key}


def test_an_ended_job_keeps_what_it_names_and_its_picture(janitor, jobs, artifacts, submit, clock) -> None:
    job_id = submit()
    keyframe, _ = lose_first_attempt(jobs, artifacts, job_id)
    video = stored(artifacts, job_id, 2)
    stored(artifacts, job_id, 2, "half.mp4")
    picture = input_picture_key("default", job_id)
    artifacts.put(picture, b"picture", "image/png")
    assert jobs.finish(job_id, 2, Succeeded(video, {})).accepted
    clock.ahead = OLD_S
    assert janitor.sweep() == Cleared(objects=2)
    assert keys(artifacts) == {keyframe.key, video.key, picture}


def test_nothing_younger_than_ten_leases_goes(janitor, jobs, artifacts, submit, clock) -> None:
    lose_first_attempt(jobs, artifacts, submit())
    clock.ahead = 10 * LEASE_S - 5
    assert janitor.sweep() == Cleared()


def test_objects_of_unknown_jobs_go_after_an_hour(janitor, jobs, artifacts, submit, clock) -> None:
    known = succeed(jobs, artifacts, submit())
    artifacts.put(input_picture_key("default", "video_refused"), b"picture", "image/png")
    stored(artifacts, "video_zombie", 1)
    clock.ahead = HOUR_S - 10
    assert janitor.sweep() == Cleared()
    clock.ahead = HOUR_S
    assert janitor.sweep() == Cleared(objects=2)
    assert keys(artifacts) == {known.key}


@pytest.mark.parametrize("minutes", [-30, 30])
def test_a_host_whose_clock_is_wrong_takes_nothing_that_may_still_be_named(
    janitor, jobs, artifacts, submit, clock, minutes: int
) -> None:
    """A picture whose job is not submitted yet, a keyframe not noted yet, a video not finished yet."""
    clock.ahead = 60 * minutes
    picture = input_picture_key("default", "video_soon")
    artifacts.put(picture, b"picture", "image/png")
    job_id = submit()
    attempt = begin(jobs)
    keyframe = stored(artifacts, job_id, attempt, "keyframe.png")
    video = stored(artifacts, job_id, attempt)
    assert janitor.sweep() == Cleared()
    assert keys(artifacts) == {picture, keyframe.key, video.key}
    assert jobs.finish(job_id, attempt, Succeeded(video, {})).accepted


def test_a_job_of_another_tenant_protects_nothing(janitor, jobs, artifacts, submit, clock) -> None:
    job_id = submit()
    known = succeed(jobs, artifacts, job_id)
    artifacts.put(f"stranger/{job_id}/1/video.mp4", b"v", "video/mp4")
    clock.ahead = HOUR_S
    assert janitor.sweep() == Cleared(objects=1)
    assert keys(artifacts) == {known.key}


FOREIGN = ["notes.txt", "default/readme.txt", "default/a/b/c/d", "default/video_1/final/video.mp4"]


def test_keys_of_another_form_are_not_ours_to_delete(janitor, jobs, artifacts, submit, clock) -> None:
    succeed(jobs, artifacts, submit())
    for key in FOREIGN:
        artifacts.put(key, b"x", "text/plain")
    before = keys(artifacts)
    clock.ahead = 1000 * HOUR_S
    assert janitor.sweep() == Cleared()
    assert keys(artifacts) == before


def test_a_record_that_knows_nothing_is_the_wrong_record(janitor, jobs, artifacts, submit, clock) -> None:
    """A REDIS_URL that names an empty server must not cost all videos."""
    for _ in range(25):
        stored(artifacts, f"video_{secrets.token_hex(6)}", 1)
    clock.ahead = 100 * HOUR_S
    with pytest.raises(WrongRecord, match="none of the 25 jobs"):
        janitor.sweep()
    assert len(keys(artifacts)) == 25
    clock.ahead = 0
    succeed(jobs, artifacts, submit())
    clock.ahead = 100 * HOUR_S
    assert janitor.sweep() == Cleared(objects=25), "a record that knows one of them belongs to them"


def test_with_redis_away_nothing_is_deleted(artifacts, clock) -> None:
    stored(artifacts, "video_1", 1)
    clock.ahead = 100 * HOUR_S
    with connect_sync("redis://127.0.0.1:1/0") as nowhere:
        lost = Janitor(JobStore(Store(nowhere)), artifacts, LEASE_S, clock)
        for work in (lost.sweep, lost.clear_doomed):
            with pytest.raises(StoreUnavailable):
                work()
    assert len(keys(artifacts)) == 1


def test_the_loop_goes_on_through_troubles(jobs, artifacts, submit, clock) -> None:
    job_id = submit()
    succeed(jobs, artifacts, job_id)
    jobs.delete("default", job_id)
    ending, told = threading.Event(), []

    class Flaky(StuckStore):
        refusals = 2

        def delete(self, key: str) -> None:
            if self.refusals:
                self.refusals -= 1
                super().delete(key)
            self._inner.delete(key)

    def hear(cleared: Cleared) -> None:
        told.append(cleared)
        if cleared.jobs:
            ending.set()

    janitor = Janitor(jobs, Flaky(artifacts), LEASE_S, clock)
    loop = threading.Thread(target=janitor.run, args=(ending, 0.01, 0.02, hear))
    loop.start()
    loop.join(60)
    assert Cleared(jobs=1, objects=1) in told
