"""A folder from a path, a bucket or a hub: checked, whole, gone on with, once for two processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.errors import BadWeights
from models.manifest import MANIFEST, check_manifest, write_manifest
from service.storage.artifact_store import ArtifactMissing, StorageUnavailable
from worker.bucket import TRIES
from worker.hub import Hub, pipeline_files
from worker.weights_cache import WeightsCache
from worker.weights_source import WeightsAway, WeightsSource


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
    tmp_path: Path, bucket: Bucket | None = None, *, hub: Hub | None = None, pauses: list[float] | None = None
) -> WeightsSource:
    def opened(name: str) -> Bucket:
        assert bucket is not None
        assert name == "my-bucket"
        return bucket

    slept = [] if pauses is None else pauses
    nobody = Hub("http://127.0.0.1:9")
    return WeightsSource(WeightsCache(tmp_path / "cache"), opened, hub or nobody, slept.append)  # type: ignore[arg-type]


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
    part = tmp_path / f"cache/s3/my-bucket/m/{weights_hash[:16]}.partial/m/unet/weights.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bucket.objects[key][:700])
    assert check_manifest(source(tmp_path, bucket).folder("s3://my-bucket/m"))
    assert [start for name, start in bucket.read_from if name == key] == [700]


def test_a_damaged_rest_is_thrown_away_and_read_again(tmp_path: Path, folder: Path) -> None:
    bucket = Bucket(stored(folder, "m"))
    weights_hash = json.loads(bucket.objects[f"m/{MANIFEST}"])["weight_hash"]
    part = tmp_path / f"cache/s3/my-bucket/m/{weights_hash[:16]}.partial/m/unet/weights.safetensors.part"
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


def test_of_a_hub_repository_only_what_a_pipeline_needs() -> None:
    names = [
        "README.md",
        "model_index.json",
        "v1-5-pruned.safetensors",
        "v1-5-pruned.ckpt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
    ]
    assert pipeline_files(names) == (
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
    )


COMMIT = "c0ffee" + "0" * 34


def _oid(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


class HubServer(BaseHTTPRequestHandler):
    """As much of the hub's HTTP interface as one model needs."""

    files: dict[str, bytes]
    asked: list[str]

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers = {"X-Repo-Commit": COMMIT, "Content-Type": "application/json"}
        if path in ("/api/models/some/model", f"/api/models/some/model/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": "some/model", "sha": COMMIT, "siblings": siblings}).encode()
        elif path == f"/api/models/some/model/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": len(body), "oid": _oid(body)}
                for name, body in self.files.items()
            ]
            body = json.dumps(entries).encode()
        elif path.startswith(f"/some/model/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/some/model/resolve/{COMMIT}/")
            self.asked.append(name)
            body = self.files[name]
            headers |= {
                "ETag": f'"{len(body)}-{abs(hash(body))}"',
                "Content-Type": "application/octet-stream",
            }
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    HubServer.files = stored(folder, "x")
    HubServer.files = {name.removeprefix("x/"): body for name, body in HubServer.files.items()}
    HubServer.files |= {"unet/weights.bin": b"pickle", "README.md": b"read me"}
    HubServer.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Hub(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_id_becomes_a_folder_without_pickles_and_outlives_the_hub(
    tmp_path: Path, folder: Path, hub: Hub
) -> None:
    got = source(tmp_path, hub=hub).folder("some/model")
    assert got.name == "model"
    assert check_manifest(got) == check_manifest(folder)
    assert not {"unet/weights.bin", "README.md"} & set(HubServer.asked)
    HubServer.asked.clear()
    assert source(tmp_path, hub=hub).folder("some/model") == got
    assert HubServer.asked == []
    assert source(tmp_path, hub=Hub("http://127.0.0.1:9")).folder("some/model") == got


def test_a_hub_without_the_model_is_an_error_of_the_settings(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(BadWeights, match="the hub has no model 'some/other' at 'main' for us"):
        source(tmp_path, hub=hub).folder("some/other")
    HubServer.files = {"model_index.json": b"{}", "unet/weights.bin": b"pickle"}
    with pytest.raises(BadWeights, match="holds no component as safetensors; pickled weights"):
        source(tmp_path, hub=hub).folder("some/model")


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(
        WeightsAway, match=r"there is no folder 'some/model' here, and .* name a folder or an s3://"
    ):
        source(tmp_path).folder("some/model")
    assert time.monotonic() - began < 30


def test_a_bucket_that_stays_away_is_tried_a_few_times_only(tmp_path: Path, folder: Path) -> None:
    bucket = Bucket(stored(folder, "m"), lost="m/unet/weights.safetensors")
    pauses: list[float] = []
    with pytest.raises(WeightsAway, match="is away"):
        source(tmp_path, bucket, pauses=pauses).folder("s3://my-bucket/m")
    assert pauses == [2.0**n for n in range(TRIES - 1)]
