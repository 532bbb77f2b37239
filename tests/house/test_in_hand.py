"""`tenant jobs`: every owner's jobs in one list, on a real record."""

import pytest
from redis import Redis
from rig.valkey import VOLATILE, running_valkey

from service.cli.main import main
from service.contracts.request import VideoRequest
from service.store.nouns import Submission
from service.store.script import Store
from service.store.store import JobStore


@pytest.fixture
def record(tmp_path, monkeypatch):
    with running_valkey(tmp_path, *VOLATILE) as url, Redis.from_url(url) as redis:
        monkeypatch.setenv("REDIS_URL", url)
        yield JobStore(Store(redis))


def submit(record, job_id, tenant):
    request = VideoRequest(
        prompt="a red circle moves left",
        model="micro",
        width=64,
        height=64,
        num_frames=16,
        fps=8,
        seed=7,
        num_inference_steps=4,
        guidance_scale=5.0,
        gamma=0.02,
        sampler="ddim",
    )
    record.submit(
        Submission(job_id, tenant, request, "default", "same", "d" * 64, queue_limit=9, retention_s=60)
    )


def listed(capsys, *arguments):
    assert main(["tenant", "jobs", *arguments]) == 0
    *lines, count = capsys.readouterr().out.splitlines()
    assert count == f"{len(lines)} in hand"
    return [tuple(line.split()[:3]) for line in lines]


def test_operators_see_what_all_owners_have_in_hand(record, capsys):
    assert listed(capsys) == []
    for job_id, tenant in (("video_a", "acme"), ("video_b", "globex"), ("video_c", "acme")):
        submit(record, job_id, tenant)
    (claim,) = record.claim("default", "w1", 1, 15.0, ["micro"])
    assert claim.job.id == "video_a"
    record.cancel("acme", "video_c")
    whole = [("acme", "video_a", "running"), ("globex", "video_b", "queued")]
    assert listed(capsys) == whole
    assert listed(capsys, "globex") == whole[1:]
    assert listed(capsys, "nobody") == []
