"""A rendered video outlives an outage of the storage: it waits, and is not rendered again."""

import io
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rig.down import Down

from service.contracts.deadline import Deadline
from service.contracts.lifecycle import Stage, State
from worker.events import SpoolChanged, SpoolFolderRefused, SpoolFull, StorageAway, Uploaded
from worker.spool.kept import KeptDamaged, free_bytes, keep_in_memory, keep_on_disk

PREFIX = "default/video_a/"
LONG = {"lease_s": 60.0}  # these workers have no thread that beats


@pytest.fixture
def down(ward: Any) -> Down:
    return Down(ward.storage, times=0, away=True)


def states(ward: Any, *names: str) -> list[State]:
    return [ward.job(f"video_{name}").state for name in names]


def test_a_video_waits_for_the_storage_while_the_gpu_goes_on(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG)
    for name in "ab":
        ward.submit(f"video_{name}")
        worker.engine.run_ticket()
    assert states(ward, "a", "b") == [State.RUNNING] * 2
    assert (ward.job().stage, ward.job().progress, ward.job().keyframe) == (Stage.UPLOAD, 97, None)
    assert set(worker.leases.held) == set(worker.spool.held) == {("video_a", 1), ("video_b", 1)}
    down.away = False
    ward.until(lambda: states(ward, "a", "b") == [State.SUCCEEDED] * 2)
    assert len(ward.renderer.animated) == len(ward.renderer.painted) == 2
    assert ward.objects() == [
        f"default/video_{name}/1/{object_}" for name in "ab" for object_ in ("keyframe.png", "video.mp4")
    ]
    assert ward.job().keyframe.key == PREFIX + "1/keyframe.png"
    assert ward.storage.head(ward.job().artifact.key).sha256 == ward.job().artifact.sha256
    assert worker.leases.held == worker.spool.held == ()
    assert ward.heard(SpoolChanged)[-1] == SpoolChanged(0, 0, False)
    stored = [ward.storage.head(key).bytes for key in ward.objects()]
    assert Counter(stored) <= Counter(event.bytes for event in ward.heard(Uploaded))  # and the stills


def test_the_disk_under_a_folder_that_is_not_there_yet_is_asked_for(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)


def test_a_full_spool_claims_nothing_until_there_is_room(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG, spool_videos=2)
    for name in "abc":
        ward.submit(f"video_{name}")
        worker.engine.run_ticket()
    assert states(ward, "a", "b", "c") == [State.RUNNING, State.RUNNING, State.QUEUED]
    (full,) = ward.heard(SpoolFull)
    assert full.videos == 2
    down.away = False
    ward.until(lambda: states(ward, "a", "b") == [State.SUCCEEDED] * 2)
    worker.engine.run_ticket()
    assert ward.job("video_c").state is State.SUCCEEDED


def test_a_batch_that_overfills_the_spool_waits_at_its_door(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG, spool_videos=1, max_batch=2)
    for name in "ab":
        ward.submit(f"video_{name}")
    gpu = threading.Thread(target=worker.engine.run_ticket)
    gpu.start()
    ward.until(lambda: worker.spool.full)
    assert len(worker.spool.held) == 1
    down.away = False
    ward.until(lambda: states(ward, "a", "b") == [State.SUCCEEDED] * 2)
    gpu.join(30)
    assert not gpu.is_alive()
    assert max(event.videos for event in ward.heard(SpoolChanged)) == 1


def test_a_video_that_cannot_be_settled_is_left_to_the_sweep(ward: Any) -> None:
    """Its lease must not be renewed by a worker that has forgotten it: no ticket would ever come for it."""
    worker = ward.worker(**LONG)
    ward.submit()
    worker.engine.run_ticket()
    assert worker.leases.held == worker.spool.held == (("video_a", 1),)
    ward.connect().hset("{mc}:job:video_a", "tries", "torn")  # by hand: no script can end this job
    worker.spool.turn()
    assert worker.leases.held == worker.spool.held == ()
    assert len(ward.objects()) > 1  # what the record cannot tell about stays


def test_a_cancel_is_heard_by_what_waits(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG)
    ward.submit()
    worker.engine.run_ticket()
    ward.store.cancel("default", "video_a")
    worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))
    assert ward.job().state is State.CANCELLED
    assert (worker.spool.held, ward.objects()) == ((), [])
    assert ward.outcomes() == [("video_a", 1, "cancelled", "")]


def test_a_finish_by_passes_for_what_waits(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG)
    ward.submit(finish_by=Deadline(3.0, relative=True))
    worker.engine.run_ticket()
    assert ward.job().state is State.RUNNING
    ward.until(lambda: ward.job().state is State.EXPIRED)
    assert ward.outcomes() == [("video_a", 1, "expired", "")]


def test_a_lost_attempt_drops_its_video_and_touches_nothing(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG)
    ward.submit()
    worker.engine.run_ticket()
    assert ward.store.release("video_a", 1, "test")
    (claim,) = ward.store.claim("default", "w2", 1, 60.0, ["fake"])
    worker.leases.beat(lambda held: ward.store.beat("w1", held, 2.0))
    down.away = False
    assert ward.job().attempt == claim.attempt == 2
    assert (worker.spool.held, ward.objects()) == ((), [])
    assert ward.outcomes() == [("video_a", 1, "lost", "")]


def test_silence_for_a_lease_drops_the_video_unsent(ward: Any, down: Down) -> None:
    now = [time.monotonic()]
    worker = ward.worker(storage=down, lease_s=3.0, clock=lambda: now[0])
    ward.submit()
    worker.engine.run_ticket()
    assert worker.spool.held == (("video_a", 1),)
    now[0] += 3.0
    down.away = False
    ward.until(lambda: ward.job().state is State.QUEUED)
    assert (ward.job().lost, ward.objects()) == (0, [])


def test_a_job_that_must_read_from_storage_goes_back_and_nothing_more_is_claimed(
    ward: Any, down: Down
) -> None:
    ward.submit(input_picture=ward.own_picture())
    for turn in range(8):  # more often than a job may come back while the storage is there
        worker = ward.worker(f"w{turn % 6}", storage=down, **LONG)
        worker.engine.run_ticket()
        worker.engine.run_ticket()
        assert (ward.job().state, ward.job().attempt) == (State.QUEUED, turn + 1)
    assert len(ward.heard(StorageAway)) == 16
    down.away = False
    worker.engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED


def test_what_waits_at_the_end_is_handed_back_without_a_loss(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG)
    ward.submit()
    worker.engine.run_ticket()
    worker.spool.stop()
    assert (ward.job().state, ward.job().lost, worker.leases.held) == (State.QUEUED, 0, ())
    assert ward.outcomes() == [("video_a", 1, "released", "worker_stopped")]
    down.away = False
    ward.worker("w2").engine.run_ticket()
    assert (ward.job().state, ward.job().attempt) == (State.SUCCEEDED, 2)
    assert ward.objects() == [PREFIX + "2/keyframe.png", PREFIX + "2/video.mp4"]


class Hanging:
    """A storage that does not answer while it is sent a video."""

    def __init__(self, storage: Any) -> None:
        self._storage, self.asked, self.answers = storage, threading.Event(), threading.Event()

    def __getattr__(self, method: str) -> Any:
        return getattr(self._storage, method)

    def put(self, key: str, body: bytes, content_type: str) -> Any:
        if key.endswith("video.mp4"):
            self.asked.set()
            self.answers.wait()
        return self._storage.put(key, body, content_type)


def test_a_worker_that_must_leave_does_not_wait_for_a_storage_that_hangs(ward: Any) -> None:
    hanging = Hanging(ward.storage)
    worker = ward.worker(storage=hanging, **LONG, spool_drain_s=3600.0)
    ward.submit()
    worker.engine.run_ticket()
    worker.spool.start()
    try:
        assert hanging.asked.wait(30)
        worker.engine.leave()
        ending = threading.Thread(target=worker.spool.stop, daemon=True)
        ending.start()
        ending.join(60)
        assert not ending.is_alive()
        assert ward.store.get("default", "video_a").state is State.QUEUED
    finally:
        hanging.answers.set()


def test_clips_go_when_their_video_is_stored_at_last(ward: Any, down: Down) -> None:
    def clips() -> list[str]:
        return [key for key in ward.objects() if "checkpoint" in key]

    down.away, down.times = False, 0
    worker = ward.worker(storage=down, **LONG, checkpoint_every_s=0.0)
    at = dict.fromkeys([("image_to_video", step) for step in range(2, 7)], worker.checkpoints.flush)
    ward.renderer.at = {**at, ("decode", 1): lambda: setattr(down, "away", True)}
    ward.submit()
    worker.engine.run_ticket()
    worker.checkpoints.flush()
    assert ward.job().state is State.RUNNING
    assert ward.job().checkpoint.key in clips()
    down.away = False
    ward.until(lambda: ward.job().state is State.SUCCEEDED)
    ward.until(lambda: clips() == [])


def test_a_hang_of_the_gpu_is_no_loss_for_what_was_rendered(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG)
    ward.submit()
    worker.engine.run_ticket()
    ward.submit("video_b")
    ward.renderer.at = {("image_to_video", 3): lambda: worker.watchdog._last_words(9.0)}
    worker.engine.run_ticket()
    assert [(ward.job(f"video_{name}").lost, states(ward, name)) for name in "ab"] == [
        (0, [State.QUEUED]),
        (1, [State.QUEUED]),
    ]


def test_a_broken_device_takes_no_rendered_video_with_it(ward: Any, down: Down) -> None:
    worker = ward.worker(storage=down, **LONG, max_batch=2)
    for name in "ab":
        ward.submit(f"video_{name}")

    def break_at_the_second() -> None:
        if worker.spool.held:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    ward.renderer.at = {("decode", 1): break_at_the_second}
    worker.engine.run_ticket()
    assert worker.engine.broken
    assert worker.spool.held == (("video_a", 1),)
    down.away = False
    ward.until(lambda: ward.job().state is State.SUCCEEDED)
    assert (ward.job("video_b").state, ward.job("video_b").lost) == (State.QUEUED, 1)


def test_a_folder_that_takes_nothing_costs_no_video(ward: Any, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_bytes(b"a file, not a folder")
    ward.submit()
    ward.worker(spool_dir=tmp_path / "blocked" / "spool").engine.run_ticket()
    assert ward.job().state is State.SUCCEEDED
    refused = ward.heard(SpoolFolderRefused)
    assert len(refused) == 3  # the video and its two stills
    assert all("blocked" in each.reason for each in refused)


def test_a_kept_file_has_no_name_and_tells_damage(tmp_path: Path) -> None:
    kept = keep_on_disk(tmp_path / "spool", "video.mp4", "video/mp4", b"a film")
    assert list((tmp_path / "spool").iterdir()) == []
    assert (kept.body(), kept.body(), kept.size) == (b"a film", b"a film", 6)
    kept.file.seek(2)
    kept.file.write(b"X")
    with pytest.raises(KeptDamaged, match=r"video\.mp4"):
        kept.body()
    kept.forget()
    memory = keep_in_memory("video.mp4", "video/mp4", b"a film")
    assert (memory.sha256, memory.body()) == (kept.sha256, b"a film")
    assert isinstance(memory.file, io.BytesIO)
