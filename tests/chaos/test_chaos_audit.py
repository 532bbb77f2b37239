"""The audit must be able to find something: a scene without processes, and promises broken by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.audit import audit
from chaos.load import Ledger
from chaos.scene import Scene
from rig.processes import Running
from rig.receiver import Received, Receiver
from rig.tcp_proxy import LossyProxy
from rig.valkey import VOLATILE, running_valkey

from service.contracts.request import VideoRequest
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.store.connections import connect_sync
from service.store.nouns import Submission

REQUEST = VideoRequest(
    prompt="a shape",
    model="nano",
    width=32,
    height=32,
    num_frames=4,
    fps=8,
    seed=1,
    num_inference_steps=2,
    guidance_scale=2.0,
    gamma=0.02,
    sampler="ddim",
)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A record, a storage and a receiver; nobody works."""
    with (
        running_valkey(tmp_path / "valkey", *VOLATILE) as url,
        Receiver() as receiver,
        LossyProxy(("127.0.0.1", 1)) as proxy,
        connect_sync(url) as redis,
    ):
        storage = FileStore(tmp_path / "artifacts", LinkSigner(b"only-for-tests" * 4, "http://x", time.time))
        nobody = Running("nobody", [], {}, tmp_path / "nobody.log")
        yield Scene(tmp_path, url, nobody, {}, receiver, proxy, "http://127.0.0.1:1", storage, redis)


def promised(scene: Scene, want: str = "succeeded") -> Ledger:
    submission = Submission(
        job_id="video_1",
        tenant="default",
        pool="default",
        request=REQUEST,
        compat="c",
        digest="d",
        idempotency_key=None,
        queue_limit=10,
        retention_s=60.0,
        warnings=(),
    )
    scene.store.submit(submission)
    ledger = Ledger()
    ledger.accept("video_1", want)
    return ledger


def test_a_job_that_ends_otherwise_than_promised_counts_as_lost(scene: Scene) -> None:
    ledger = promised(scene)
    scene.store.cancel("default", "video_1")
    found = audit(scene, ledger, losses_allowed=False)
    assert found.lost == {"video_1"}
    assert "wanted succeeded" in found.breaches[0]


def test_a_webhook_that_nobody_heard_is_a_breach(scene: Scene) -> None:
    ledger = promised(scene, "cancelled")
    scene.store.cancel("default", "video_1")
    found = audit(scene, ledger, losses_allowed=False)
    assert found.lost == set()
    assert "the receiver heard {}" in found.breaches[0]


@pytest.mark.parametrize(
    "heard", ["as promised", "not at all", "under another's id", "twice", "under two ids"]
)
def test_each_endpoint_hears_of_an_end_under_one_id_of_its_own(scene: Scene, heard: str) -> None:
    ledger = promised(scene, "cancelled")
    ledger.endpoints["/endpoint-0"] = "we_1"
    scene.store.cancel("default", "video_1")
    (event,) = [each for each in scene.store.events("default", "video_1") if each.type == "video.cancelled"]
    body = event.model_dump_json().encode()
    sent = {
        "as promised": [f"{event.id}_we_1"],
        "not at all": [],
        "under another's id": [event.id],
        "twice": [f"{event.id}_we_1"] * 2,
        "under two ids": [f"{event.id}_we_1", "evt_other_we_1"],
    }
    posts = [("/hook", event.id), *(("/endpoint-0", each) for each in sent[heard])]
    scene.receiver.received += [Received(path, {"webhook-id": id_}, body) for path, id_ in posts]
    found = audit(scene, ledger, losses_allowed=False, quiet_s=0.5)
    breaches = [breach for breach in found.breaches if "the receiver heard" in breach]
    assert bool(breaches) is (heard not in ("as promised", "twice"))
    assert found.duplicated == ({"video_1"} if heard == "under two ids" else set())
    assert found.repeats == (heard == "twice")


def test_a_job_that_was_set_aside_is_named(scene: Scene) -> None:
    scene.redis.hset("{mc}:aside", "video_1", '{"flaw":"spoiled"}')
    assert audit(scene, Ledger(), losses_allowed=False).breaches == ["orphan key {mc}:aside"]


def test_keys_without_an_owner_are_named(scene: Scene) -> None:
    scene.redis.hset("rq:job:forgotten", "status", "queued")
    scene.redis.zadd("{mc}:ready:default:nano", {"video_gone": 1.0})
    found = audit(scene, Ledger(), losses_allowed=False)
    assert found.breaches == [
        "orphan key rq:job:forgotten",
        "orphan key {mc}:ready:default:nano",
    ]


def test_a_promise_without_a_record_never_ended(scene: Scene) -> None:
    ledger = Ledger()
    ledger.accept("video_1", "succeeded")
    found = audit(scene, ledger, losses_allowed=False, quiet_s=0.5)
    assert found.lost == {"video_1"}
    assert any("never ended" in breach for breach in found.breaches)
