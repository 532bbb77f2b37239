"""What only a real S3 server can show: signatures, expiry, checksums, and an endpoint that is away."""

import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import service.storage.s3
from service.storage.artifact_store import StorageUnavailable
from service.storage.s3 import MAX_LINK_S, S3Store, connect

KEY = "default/video_s3/1/video.mp4"
BODY = bytes(range(256)) * 8


@pytest.fixture
def s3(s3_store: S3Store) -> S3Store:
    s3_store.put(KEY, BODY, "video/mp4")
    return s3_store


def test_anyone_may_get_a_link_until_it_expires(s3: S3Store) -> None:
    link = s3.link(KEY, 5, "film.mp4")
    assert "X-Amz-Signature=" in link
    answer = httpx.get(link)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == 'attachment; filename="film.mp4"'
    part = httpx.get(link, headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, BODY[:100])
    assert part.headers["content-range"] == f"bytes 0-99/{len(BODY)}"
    time.sleep(6.1)
    assert httpx.get(link).status_code == 403


def test_a_changed_link_is_refused(s3: S3Store) -> None:
    link = s3.link(KEY, 60)
    assert httpx.get(link.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).status_code == 403
    assert httpx.get(link.replace("video_s3", "video_s4")).status_code == 403
    assert httpx.get(link.split("?")[0]).status_code == 403


@pytest.mark.parametrize("expires_s", [0, -5, MAX_LINK_S + 1])
def test_a_lifetime_that_cannot_be_signed_is_refused(s3: S3Store, expires_s: int) -> None:
    with pytest.raises(ValueError, match=f"{expires_s}, allowed are 1 to {MAX_LINK_S}"):
        s3.link(KEY, expires_s)


def test_links_are_signed_for_the_address_that_clients_use(s3_server) -> None:
    port = s3_server.place.endpoint_url.rsplit(":", 1)[1]
    # Another name of the same server: a link signed for 127.0.0.1 would be refused there.
    public = f"http://localhost:{port}"
    store = connect(replace(s3_server.place, public_endpoint_url=public))
    store.put(KEY, BODY, "video/mp4")
    link = store.link(KEY, 60)
    assert link.startswith(f"{public}/videos/")
    assert httpx.get(link).content == BODY
    inside = connect(s3_server.place).link(KEY, 60)
    assert httpx.get(inside.replace("127.0.0.1", "localhost")).status_code == 403


def test_the_server_checks_our_sha256(s3_server) -> None:
    """The header that `put` sends is not decoration: the server refuses a body that does not fit it."""
    place = s3_server.place
    client = boto3.client(
        "s3",
        endpoint_url=place.endpoint_url,
        region_name=place.region,
        aws_access_key_id=place.access_key_id,
        aws_secret_access_key=place.secret_access_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    wrong = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # of the empty body
    with pytest.raises(ClientError, match=r"(?i)digest|checksum"):
        client.put_object(Bucket="videos", Key="default/wrong/1/video.mp4", Body=b"x", ChecksumSHA256=wrong)


def test_a_missing_bucket_and_a_wrong_secret_are_sentences(s3_server) -> None:
    elsewhere = connect(replace(s3_server.place, bucket="no-such-bucket"))
    stranger = connect(replace(s3_server.place, secret_access_key="wrong"))
    for store in (elsewhere, stranger):
        with pytest.raises(StorageUnavailable, match=store.bucket):
            store.check()
        with pytest.raises(StorageUnavailable, match=store.bucket):
            store.put(KEY, BODY, "video/mp4")
        with pytest.raises(StorageUnavailable, match=store.bucket):
            list(store.list("default/"))


def test_a_server_that_is_away_is_unavailable_and_soon(s3_server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = connect(replace(s3_server.place, endpoint_url=away), tries=1)
        started = time.monotonic()
        with pytest.raises(StorageUnavailable, match="is away"):
            store.read(KEY)
        assert time.monotonic() - started < 15


def test_a_server_that_never_answers_is_unavailable(s3_server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = replace(s3_server.place, endpoint_url=endpoint)
        store = connect(place, read_timeout_s=0.3, tries=1)
        with pytest.raises(StorageUnavailable, match="is away"):
            store.put(KEY, BODY, "video/mp4")


def test_a_body_that_breaks_off_is_an_error_not_a_short_video(s3_server) -> None:
    """A proxy that hangs up in mid-body: the reader hears of it instead of taking half for the whole."""
    with socket.create_server(("127.0.0.1", 0)) as broken:
        endpoint = f"http://127.0.0.1:{broken.getsockname()[1]}"
        store = connect(replace(s3_server.place, endpoint_url=endpoint), read_timeout_s=2, tries=1)

        def answer_half() -> None:
            peer, _ = broken.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)

        server = threading.Thread(target=answer_half)
        server.start()
        with pytest.raises(StorageUnavailable):
            b"".join(store.read(KEY))
        server.join()


def test_a_bucket_is_asked_for_no_more_than_operators_are_told() -> None:
    """docs/operations.md, "Record and storage belong together": rights, and one PUT for each object."""
    source = Path(service.storage.s3.__file__).read_text()
    calls = set(re.findall(r"_client\.(\w+)\(", source)) - {"get_paginator"}
    calls |= set(re.findall(r'get_paginator\("(\w+)"\)', source))
    assert calls == {
        *("get_object", "head_object"),  # s3:GetObject
        "put_object",
        "delete_object",
        *("head_bucket", "list_objects_v2"),  # s3:ListBucket
    }
