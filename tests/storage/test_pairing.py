"""A record and a storage that belong together, and pairs that do not."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rig.plain_http import says_ready
from rig.processes import Running, free_ports, python_module, wait_until
from rig.valkey import running_valkey

from models.nano import write_nano
from service.cli.main import main
from service.storage.artifact_store import StorageUnavailable
from service.storage.pairing import MarkedStore, OtherStorage, look_at_start, pair
from service.storage.settings import StorageSettings, open_store
from service.store.audit import Audit
from service.store.storage_mark import RecordMark, paired


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def record(redis: Redis) -> RecordMark:
    return RecordMark(redis)


@pytest.fixture(params=["files", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MarkedStore]:
    if request.param == "files":
        yield open_store(StorageSettings(storage_dir=tmp_path / "artifacts"))
        return
    store = request.getfixturevalue("s3_store")
    store.forget_mark()
    yield store
    store.forget_mark()


def never(_seconds: float) -> None:
    """A pause in which nothing changes."""


def test_two_that_are_new_become_a_pair_and_stay_one(storage: MarkedStore, record: RecordMark) -> None:
    for _ in range(2):
        pair(storage, record, pause=never)
        assert storage.mark() == record.mark() is not None
    storage.set_mark("another")
    record.set_mark("another")
    assert storage.mark() == record.mark() != "another"
    marks = [stored.key for stored in storage.list("") if "mark" in stored.key]
    assert marks == []  # it is no artifact: no janitor sees it


def test_a_storage_that_is_empty_or_anothers_is_refused_with_both_marks(
    storage: MarkedStore, record: RecordMark
) -> None:
    record.set_mark("aaaa")
    with pytest.raises(OtherStorage, match="carries no mark, the record in Redis the mark 'aaaa'"):
        pair(storage, record, pause=never)
    storage.set_mark("bbbb")
    with pytest.raises(OtherStorage, match="carries the mark 'bbbb', the record in Redis the mark 'aaaa'"):
        pair(storage, record, pause=never)
    record.forget_mark()  # a Redis that was emptied, or another service's
    with pytest.raises(OtherStorage, match="carries the mark 'bbbb', the record in Redis no mark"):
        pair(storage, record, pause=never)


def test_who_comes_between_the_two_marks_of_a_first_start_waits_for_the_second(
    storage: MarkedStore, record: RecordMark
) -> None:
    record.set_mark("aaaa")
    pair(storage, record, pause=lambda _: storage.set_mark("aaaa"))
    assert storage.mark() == "aaaa"


def test_nothing_is_stored_or_deleted_in_anothers_storage_and_reading_goes_on(
    tmp_path: Path, redis_url: str, record: RecordMark
) -> None:
    storage = open_store(StorageSettings(storage_dir=tmp_path))
    storage.put("a/b.txt", b"theirs", "text/plain")
    storage.set_mark("bbbb")
    record.set_mark("aaaa")
    ours = paired(storage, lambda: Redis.from_url(redis_url))
    for forbidden in (
        lambda: ours.put("a/c.txt", b"ours", "text/plain"),
        lambda: ours.delete("a/b.txt"),
        ours.check,
        lambda: look_at_start(ours),
    ):
        with pytest.raises(OtherStorage):
            forbidden()
    assert [stored.key for stored in ours.list("")] == ["a/b.txt"]
    assert (b"".join(ours.read("a/b.txt")), ours.head("a/b.txt").bytes) == (b"theirs", 6)
    storage.forget_mark()
    storage.set_mark("aaaa")  # the right one was mounted: nobody has to start again
    assert look_at_start(ours) is None
    ours.put("a/c.txt", b"ours", "text/plain")


def test_without_redis_nothing_is_known_and_that_is_told_apart(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    ours = paired(
        open_store(StorageSettings(storage_dir=tmp_path)),
        lambda: Redis.from_url(f"redis://127.0.0.1:{port}/0"),
    )
    away = look_at_start(ours)
    assert isinstance(away, StorageUnavailable)
    assert "record" in str(away)


def test_the_mark_is_no_orphan(record: RecordMark, redis: Redis) -> None:
    record.set_mark("aaaa")
    assert Audit(redis, pause=never).orphans() == []


@pytest.fixture
def start(redis: Redis, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []
    weights = tmp_path / "nano"
    write_nano(weights)
    environment = {
        "REDIS_URL": redis_url,
        "MICROCINEMA_WEIGHTS": str(weights),
        "MICROCINEMA_WEBHOOK_SECRET": "whsec_" + "a" * 44,
        "MICROCINEMA_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }

    def start_it(module: str, folder: str, **more: str) -> Running:
        own = {**environment, "MICROCINEMA_STORAGE_DIR": str(tmp_path / folder), **more}
        running.append(python_module(module, own, tmp_path, f"{module}-{len(running)}").start())
        return running[-1]

    yield start_it
    for each in reversed(running):
        each.end()


@pytest.mark.timeout(180)
def test_no_process_starts_beside_anothers_storage_until_an_operator_says_so(
    start: Callable[..., Running],
    record: RecordMark,
    tmp_path: Path,
    redis_url: str,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    (port,) = free_ports(1)
    probe = f"http://127.0.0.1:{port}/readyz"
    gateway = start("service.main", "right", MICROCINEMA_PORT=str(port))
    wait_until(lambda: record.mark() is not None, 60, f"the gateway pairs\n{gateway.output()}")
    wait_until(lambda: says_ready(probe), 60, f"the gateway is ready\n{gateway.output()}")
    for module in ("service.main", "service.notifier.main", "worker.main"):
        wrong = start(module, "wrong", MICROCINEMA_PORT=str(port))
        assert wrong.wait(60) == os.EX_CONFIG, wrong.output()
        assert "do not belong together" in wrong.output()

    shutil.rmtree(tmp_path / "right")  # an empty disk is mounted in its place
    (tmp_path / "right" / ".writing").mkdir(parents=True)
    gateway.terminate()
    gateway.wait(30)
    again = start("service.main", "right", MICROCINEMA_PORT=str(port))
    assert again.wait(60) == os.EX_CONFIG
    assert "carries no mark" in again.output()

    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("MICROCINEMA_STORAGE_DIR", str(tmp_path / "right"))
    assert main(["storage", "adopt"]) == 0
    assert str(record.mark()) in capsys.readouterr().out
    last = start("service.main", "right", MICROCINEMA_PORT=str(port))
    wait_until(lambda: says_ready(probe), 60, f"the gateway is ready\n{last.output()}")
