"""A folder from a path or a bucket: checked, whole, gone on with, once for two processes."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models.errors import BadWeights
from models.manifest import MANIFEST, check_manifest, write_manifest
from service.storage.artifact_store import ArtifactMissing, StorageUnavailable
from worker.weights.bucket import TRIES
from worker.weights.cache import WeightsCache
from worker.weights.hub import Hub
from worker.weights.source import WeightsAway, WeightsSource


@dataclass
class Bucket:
    """A bucket in memory, with the two troubles of a network: away, and cut off after some bytes."""

    objects: dict[str, bytes]
    away: bool = False
    lost: str = ""  # the one object that the server never gives
    cut_after: dict[str, int] = field(default_factory=dict)
    read_from: list[tuple[str, int]] = field(default_factory=list)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        assert end is None
        if self.away or key == self.lost:
            raise StorageUnavailable("the S3 server of bucket 'b' is away")
        if key not in self.objects:
            raise ArtifactMissing(key)
        self.read_from.append((key, start))
        return self._chunks(self.objects[key][start:], self.cut_after.pop(key, None))

    def _chunks(self, body: bytes, cut: int | None) -> Iterator[bytes]:
        for at in range(0, len(body) if cut is None else cut, 100):
            yield body[at : at + 100]
        if cut is not None:
            raise StorageUnavailable("the S3 server of bucket 'b' is away: cut off")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "unet").mkdir(parents=True)
    (made / "unet" / "weights.safetensors").write_bytes(bytes(range(250)) * 4)
    (made / "cinema.json").write_text("{}")
    write_manifest(made)
    return made


def stored(folder: Path, prefix: str) -> dict[str, bytes]:
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def source(
    tmp_path: Path, bucket: Bucket | None = None, *, pauses: list[float] | None = None
) -> WeightsSource:
    def opened(name: str) -> Bucket:
        assert bucket is not None
        assert name == "my-bucket"
        return bucket

    slept = [] if pauses is None else pauses
    nobody = Hub("http://127.0.0.1:9")
    return WeightsSource(WeightsCache(tmp_path / "cache"), opened, nobody, slept.append)  # type: ignore[arg-type]


def test_a_path_is_itself_even_where_it_looks_like_a_hub_id(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    near = f"{tmp_path.name}/model"
    for named in (folder, str(folder), near, "/nowhere/at/all", "./no/model"):
        assert source(tmp_path).folder(named) == Path(named)


def test_a_bucket_folder_arrives_whole_and_checked(tmp_path: Path, folder: Path) -> None:
    bucket = Bucket(stored(folder, "models/sd21"))
    got = source(tmp_path, bucket).folder("s3://my-bucket/models/sd21/")
    assert got.name == "sd21"  # the name under which a public pipeline is served
    assert check_manifest(got) == check_manifest(folder)
    bucket.read_from.clear()
    assert source(tmp_path, bucket).folder("s3://my-bucket/models/sd21") == got
    assert bucket.read_from == [(f"models/sd21/{MANIFEST}", 0)]  # nothing else is read twice


def test_a_cut_off_download_goes_on_where_it_ended(tmp_path: Path, folder: Path) -> None:
    key = "m/unet/weights.safetensors"
    bucket = Bucket(stored(folder, "m"), cut_after={key: 300})
    pauses: list[float] = []
    got = source(tmp_path, bucket, pauses=pauses).folder("s3://my-bucket/m")
    assert [start for name, start in bucket.read_from if name == key] == [0, 300]
    assert pauses == [1.0]
    assert check_manifest(got)


def test_a_killed_download_is_gone_on_with_by_the_next_process(tmp_path: Path, folder: Path) -> None:
    key = "m/unet/weights.safetensors"
    bucket = Bucket(stored(folder, "m"))
    weights_hash = json.loads(bucket.objects[f"m/{MANIFEST}"])["weight_hash"]
    part = tmp_path / f"cache/s3/my-bucket/at-m/{weights_hash[:16]}.partial/m/unet/weights.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bucket.objects[key][:700])
    assert check_manifest(source(tmp_path, bucket).folder("s3://my-bucket/m"))
    assert [start for name, start in bucket.read_from if name == key] == [700]


def test_a_damaged_rest_is_thrown_away_and_read_again(tmp_path: Path, folder: Path) -> None:
    bucket = Bucket(stored(folder, "m"))
    weights_hash = json.loads(bucket.objects[f"m/{MANIFEST}"])["weight_hash"]
    part = tmp_path / f"cache/s3/my-bucket/at-m/{weights_hash[:16]}.partial/m/unet/weights.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\xff" * 2000)
    assert check_manifest(source(tmp_path, bucket).folder("s3://my-bucket/m"))


@pytest.mark.parametrize(
    ("key", "body", "sentence"),
    [
        (
            "m/cinema.json",
            b"[]",
            r"s3://my-bucket/m/cinema\.json is not the file that manifest\.json describes",
        ),
        ("m/cinema.json", None, r"cinema\.json is in manifest\.json but not in the bucket"),
        (f"m/{MANIFEST}", None, r"has no manifest\.json: write it with `python -m models\.manifest FOLDER`"),
        (f"m/{MANIFEST}", b"<xml>", r"s3://my-bucket/m/manifest\.json is not a manifest"),
    ],
)
def test_a_bucket_that_holds_something_else_is_an_error_of_the_settings(
    tmp_path: Path, folder: Path, key: str, body: bytes | None, sentence: str
) -> None:
    objects = stored(folder, "m")
    del objects[key]
    bucket = Bucket(objects | ({key: body} if body is not None else {}))
    with pytest.raises(BadWeights, match=sentence):
        source(tmp_path, bucket).folder("s3://my-bucket/m")
    assert not list((tmp_path / "cache").rglob("last"))


def test_a_bucket_that_is_away_gives_the_last_copy_or_says_so(tmp_path: Path, folder: Path) -> None:
    bucket = Bucket(stored(folder, "m"), away=True)
    with pytest.raises(WeightsAway, match="is away"):
        source(tmp_path, bucket).folder("s3://my-bucket/m")
    bucket.away = False
    first = source(tmp_path, bucket).folder("s3://my-bucket/m")
    (folder / "cinema.json").write_text('{"new": 1}')
    write_manifest(folder)
    bucket.objects |= stored(folder, "m")
    second = source(tmp_path, bucket).folder("s3://my-bucket/m")
    assert first != second
    bucket.away = True
    assert source(tmp_path, bucket).folder(Path("s3://my-bucket/m")) == second  # a Path keeps one slash
    assert check_manifest(first)  # a worker may still be loading it


@pytest.mark.parametrize("address", ["s3://", "s3://x", "s3://my-bucket/../up", "s3://B/m"])
def test_an_address_that_is_none_is_named(tmp_path: Path, address: str) -> None:
    with pytest.raises(BadWeights, match="is not the address of a folder in a bucket"):
        source(tmp_path).folder(address)


def _fetch_once(cache: Path, log: Path) -> None:
    def fetch(into: Path) -> None:
        with log.open("a") as out:
            out.write("fetched\n")
        time.sleep(0.3)
        (into / "weights").write_text("w")

    got = WeightsCache(cache).folder("s3/b/m", "v1", "m", fetch)
    assert (got / "weights").read_text() == "w"


def test_two_workers_that_start_at_once_fetch_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_fetch_once, args=(tmp_path / "c", tmp_path / "log")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "fetched\n"


def test_a_bucket_that_stays_away_is_tried_a_few_times_only(tmp_path: Path, folder: Path) -> None:
    bucket = Bucket(stored(folder, "m"), lost="m/unet/weights.safetensors")
    pauses: list[float] = []
    with pytest.raises(WeightsAway, match="is away"):
        source(tmp_path, bucket, pauses=pauses).folder("s3://my-bucket/m")
    assert pauses == [2.0**n for n in range(TRIES - 1)]


def test_prefixes_that_look_alike_are_kept_apart(tmp_path: Path, folder: Path) -> None:
    """The same content below all of them, so that versions cannot tell them apart."""
    prefixes = ["a/b", "a+b", "a+-b", "a++b", "last"]
    bucket = Bucket({key: body for prefix in prefixes for key, body in stored(folder, prefix).items()})
    got = [source(tmp_path, bucket).folder(f"s3://my-bucket/{prefix}") for prefix in prefixes]
    assert len({each.parent.parent for each in got}) == len(prefixes)
    assert [each.name for each in got] == ["b", "a+b", "a+-b", "a++b", "last"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(WeightsAway, match=r"MICROCINEMA_WEIGHTS_CACHE cannot be written: .*cache"):
        source(tmp_path, Bucket(stored(folder, "m"))).folder("s3://my-bucket/m")
