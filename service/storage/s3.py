"""Artifacts in any S3-compatible server, by Signature Version 4 and path-style addresses.

One PUT per object with its SHA-256 in the request, so the server refuses a body that was damaged on the way.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.response import StreamingBody

from service.storage.artifact_store import (
    CHUNK_BYTES,
    ArtifactMissing,
    RangeOutside,
    StorageError,
    StorageUnavailable,
    StoredObject,
    check_filename,
    check_key,
    check_prefix,
    check_range,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = {"404", "NoSuchKey", "NotFound"}
_OUTSIDE = {"416", "InvalidRange"}
#: Keys of artifacts never start with a dot.
MARK = ".microcinema-mark"
MAX_LINK_S = 7 * 24 * 3600  # the longest expiry that Signature Version 4 allows


@dataclass(frozen=True)
class S3Place:
    """Where a bucket is, and who we are there.

    `public_endpoint_url` is the address that clients reach (links are signed for it); None: the same as ours.
    Without keys boto3 looks where it always looks: environment, profile, instance role.
    """

    bucket: str
    endpoint_url: str | None = None
    public_endpoint_url: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None


def connect(place: S3Place, *, read_timeout_s: float = 30.0, tries: int = 3) -> "S3Store":
    """A store on this bucket; nothing is sent yet. Worst case of one call: tries * (3 s + read_timeout_s)."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path", "payload_signing_enabled": True},
        connect_timeout=3.0,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": tries},
        # We send a SHA-256 ourselves; older S3-compatible servers refuse the CRC that newer SDKs add unasked.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session(
        aws_access_key_id=place.access_key_id,
        aws_secret_access_key=place.secret_access_key,
        aws_session_token=place.session_token,
        region_name=place.region,
    )
    inside = session.client("s3", endpoint_url=place.endpoint_url, config=config)
    public = session.client("s3", endpoint_url=place.public_endpoint_url or place.endpoint_url, config=config)
    return S3Store(place.bucket, inside, public)


class S3Store:
    """An ArtifactStore in one bucket. `public` only signs links and sends nothing."""

    def __init__(self, bucket: str, client: "S3Client", public: "S3Client") -> None:
        self.bucket = bucket
        self._client = client
        self._public = public

    def put(self, key: str, body: bytes, content_type: str) -> StoredObject:
        check_key(key)
        digest = hashlib.sha256(body)
        with self._troubles(key):
            self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                Metadata={"sha256": digest.hexdigest()},
            )
        stored = self.head(key)
        if (stored.bytes, stored.sha256) != (len(body), digest.hexdigest()):
            raise StorageUnavailable(f"bucket {self.bucket!r} kept {key!r} otherwise than it was sent")
        return stored

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        check_range(start, end)
        asked: dict[str, Any] = {"Bucket": self.bucket, "Key": check_key(key)}
        if start > 0 or end is not None:
            asked["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._troubles(key, start, end):
            body = self._client.get_object(**asked)["Body"]
        chunks = self._chunks(body, key)
        # The first chunk is read here, so that every early error comes at the call.
        return chain([next(chunks, b"")], chunks)

    def head(self, key: str) -> StoredObject:
        with self._troubles(key):
            found = self._client.head_object(Bucket=self.bucket, Key=check_key(key))
        modified = found["LastModified"].timestamp()
        return StoredObject(key, found["ContentLength"], found["Metadata"].get("sha256"), modified)

    def delete(self, key: str) -> None:
        with self._troubles(key):
            self._client.delete_object(Bucket=self.bucket, Key=check_key(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._troubles(prefix):
            for page in pages.paginate(Bucket=self.bucket, Prefix=check_prefix(prefix)):
                for entry in page.get("Contents", []):
                    if entry["Key"] == MARK:
                        continue
                    yield StoredObject(entry["Key"], entry["Size"], None, entry["LastModified"].timestamp())

    def link(self, key: str, expires_s: int, filename: str | None = None) -> str:
        if not 1 <= expires_s <= MAX_LINK_S:
            raise ValueError(f"expires_s is {expires_s}, allowed are 1 to {MAX_LINK_S} seconds")
        named: dict[str, Any] = {"Bucket": self.bucket, "Key": check_key(key)}
        if filename is not None:
            named["ResponseContentDisposition"] = f'attachment; filename="{check_filename(filename)}"'
        return self._public.generate_presigned_url("get_object", Params=named, ExpiresIn=expires_s)

    def mark(self) -> str | None:
        try:
            with self._troubles(MARK):
                return self._client.get_object(Bucket=self.bucket, Key=MARK)["Body"].read().decode().strip()
        except ArtifactMissing:
            return None

    def set_mark(self, mark: str) -> None:
        # Not every server knows a conditional PUT. Who comes here at the same time brings the same mark.
        if self.mark() is None:
            with self._troubles(""):
                self._client.put_object(Bucket=self.bucket, Key=MARK, Body=mark.encode())

    def forget_mark(self) -> None:
        with self._troubles(""):
            self._client.delete_object(Bucket=self.bucket, Key=MARK)

    def check(self) -> None:
        with self._troubles(""):
            self._client.head_bucket(Bucket=self.bucket)

    def _chunks(self, body: StreamingBody, key: str) -> Iterator[bytes]:
        with closing(body), self._troubles(key):
            yield from body.iter_chunks(CHUNK_BYTES)

    @contextmanager
    def _troubles(self, key: str, start: int = 0, end: int | None = None) -> Iterator[None]:
        """Every error of boto3 leaves as one of ours."""
        try:
            yield
        except ClientError as problem:
            raise self._refused(problem, key, start, end) from problem
        except (BotoCoreError, HTTPClientError) as problem:
            raise StorageUnavailable(
                f"the S3 server of bucket {self.bucket!r} is away: {problem}"
            ) from problem

    def _refused(self, problem: ClientError, key: str, start: int, end: int | None) -> StorageError:
        code = str(problem.response.get("Error", {}).get("Code", "unknown"))
        if code in _OUTSIDE:
            return RangeOutside(key, start, end)
        if code in _MISSING and key:
            return ArtifactMissing(key)
        status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return StorageUnavailable(f"bucket {self.bucket!r} refused us with {code} (HTTP {status})")
