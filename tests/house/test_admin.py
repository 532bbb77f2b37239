"""`microcinema admin` on a real record, as a person and as a script meets it."""

import json

import pytest
from redis import Redis
from rig.served_spec import micro_spec
from rig.valkey import VOLATILE, running_valkey

from service.cli.main import main
from service.contracts.api_key import Scope
from service.contracts.artifact import Artifact, Upload
from service.contracts.failure import Failure
from service.contracts.request import PictureRef, VideoRequest
from service.janitor import Janitor
from service.storage.files import FileStore
from service.storage.links import LinkSigner
from service.store.api_keys import KeyStore
from service.store.deliveries import DeliveryStore, Settlement, Verdict
from service.store.nouns import Failed, Submission, Succeeded
from service.store.script import Store
from service.store.store import JobStore

PICTURE = b"\x89PNG a client's own"


class Fleet:
    """One record, one storage, and the moves of a worker."""

    def __init__(self, redis, folder):
        self.redis, self.store = redis, Store(redis)
        self.jobs = JobStore(self.store)
        self.artifacts = FileStore(folder / "artifacts", LinkSigner(b"s" * 32, "http://x", lambda: 0.0))
        self.deliveries = DeliveryStore(self.store)

    def submit(self, job_id, tenant="acme", **fields):
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
            **{"webhook_url": "https://example.com/hook", **fields},
        )
        quota = {"queue_limit": 9, "retention_s": 3600.0}
        self.jobs.submit(Submission(job_id, tenant, request, "default", "same", job_id, **quota))
        return job_id

    def end(self, outcome):
        (claim,) = self.jobs.claim("default", "gpu-1", 1, 15.0, ["micro"])
        assert self.jobs.finish(claim.job.id, claim.attempt, outcome).accepted

    def fail(self, job_id, **fields):
        self.submit(job_id, **fields)
        self.end(Failed(Failure(code="internal", message="It broke.", retryable=True)))
        return job_id

    def succeed(self, job_id, **fields):
        self.submit(job_id, **fields)
        picture = self.artifacts.put(
            f"{fields.get('tenant', 'acme')}/{job_id}/1/video.mp4", b"mp4", "video/mp4"
        )
        self.end(
            Succeeded(
                Artifact(
                    key=picture.key, content_type="video/mp4", bytes=3, sha256="a" * 64, width=64, height=64
                )
            )
        )
        return job_id

    def settle(self, verdict):
        """One try of everything that is due."""
        self.deliveries.relay()
        taken = self.deliveries.take(100, 30, 100, {})
        for letter in taken:
            self.deliveries.settle(letter.id, letter.tries, Settlement(verdict, "so it was"), 3600)
        return [letter.id for letter in taken]


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    with running_valkey(tmp_path / "valkey", *VOLATILE) as url, Redis.from_url(url) as redis:
        monkeypatch.setenv("REDIS_URL", url)
        monkeypatch.setenv("MICROCINEMA_STORAGE_DIR", str(tmp_path / "artifacts"))
        yield Fleet(redis, tmp_path)


@pytest.fixture
def admin(capsys):
    """`admin(*words)`: exit status, what it printed (read, if it was JSON), and its complaint."""

    def run(*words):
        capsys.readouterr()
        status, said = main(["admin", *words]), capsys.readouterr()
        return status, json.loads(said.out) if "--json" in words else said.out, said.err

    return run


def announce(fleet):
    fleet.jobs.announce("gpu-1", "default", [micro_spec()])


def test_status_and_workers_say_how_the_fleet_stands(fleet, admin):
    announce(fleet)
    fleet.submit("video_a")
    fleet.fail("video_b")
    fleet.redis.hset("{mc}:schemas", "9", 2)
    assert admin("pause", "pool", "default", "--reason", "new cards")[0] == 0
    status, facts, _ = admin("status", "--json")
    assert status == 0
    assert (facts["jobs"]["queued"], facts["jobs"]["failed"]) == (1, 1)
    assert facts["pools"]["default"]["ready"] == 1
    assert facts["pools"]["default"]["paused"] is True
    assert facts["paused"]["pool:default"]["reason"] == "new cards"
    assert facts["left_to_newer_versions"] == 2
    assert facts["webhooks"]["outbox"] == 2  # the failed one's start and end
    _, page, _ = admin("status")
    assert "pool default is PAUSED since" in page
    assert "2 job records are of a newer version" in page
    _, workers, _ = admin("workers", "--json")
    assert [(w["name"], w["models"], w["draining"]) for w in workers] == [("gpu-1", ["micro"], False)]
    assert admin("resume", "pool", "default", "--json")[1] == {
        "gate": "pool:default",
        "paused": False,
        "changed": True,
    }


def test_drain_tells_workers_and_names_those_that_are_not_there(fleet, admin):
    announce(fleet)
    status, facts, error = admin("drain", "gpu-1", "gpu-9", "--json")
    assert (status, facts) == (1, {"told": ["gpu-1"], "missing": ["gpu-9"]})
    assert "not among the live workers: gpu-9" in error
    assert admin("workers")[1].strip().endswith("draining")
    assert admin("drain")[0] == 2
    assert admin("drain", "--all")[0] == 0


def test_requeue_makes_a_job_of_its_own_once_and_what_ended_stays_ended(fleet, admin):
    prefix = "acme/video_a/input/picture.png"
    fleet.artifacts.put(prefix, PICTURE, "image/png")
    upload = Upload(key="acme/video_a/input/c.upload", sha256="c" * 64, content_type="image/jpeg")
    fleet.artifacts.put(upload.key, b"as it came", "image/jpeg")
    picture = PictureRef(key=prefix, sha256="b" * 64, width=64, height=64, upload=upload)
    fleet.fail("video_a", input_picture=picture, metadata={"order": "41"})
    before = fleet.redis.dump("{mc}:job:video_a")
    status, facts, _ = admin("requeue", "video_a", "--json")
    assert status == 0
    (made,) = facts["requeued"]
    assert (made["source"], made["created"]) == ("video_a", True)
    job = fleet.jobs.get("acme", made["job_id"])
    assert (job.state, job.request.seed, job.request.metadata) == ("queued", 7, {"order": "41"})
    assert job.request.remixed_from == "video_a"
    own = job.request.input_picture.key
    assert own == f"acme/{job.id}/input/picture.png"
    assert b"".join(fleet.artifacts.read(own)) == PICTURE
    kept = job.request.input_picture.upload
    assert kept.key == f"acme/{job.id}/input/c.upload"
    assert b"".join(fleet.artifacts.read(kept.key)) == b"as it came"
    assert fleet.redis.dump("{mc}:job:video_a") == before
    assert [event.type for event in fleet.jobs.events("acme", "video_a")].count("video.failed") == 1
    _, again, _ = admin("requeue", "video_a", "--json")
    assert again["requeued"] == [{"source": "video_a", "job_id": job.id, "created": False}]
    assert len(list(fleet.artifacts.list("acme/"))) == 4


def test_requeue_refuses_what_did_not_fail_in_words_and_does_the_rest(fleet, admin):
    fleet.succeed("video_done")
    for job_id in ("video_bad", "video_late"):
        fleet.fail(job_id)
    status, facts, error = admin("requeue", "video_done", "video_none", "video_bad", "--json")
    assert status == 1
    assert [each["source"] for each in facts["requeued"]] == ["video_bad"]
    assert "video_done is succeeded: only what failed or expired" in error
    assert "no video 'video_none'" in error
    admin("pause", "intake", "--reason", "moving")
    status, _, error = admin("requeue", "video_late")
    assert (status, "the intake is paused: moving" in error) == (1, True)


def test_purge_asks_takes_what_is_meant_and_the_owner_learns_that_its_time_is_over(fleet, admin):
    for job_id in ("video_a", "video_b"):
        fleet.fail(job_id)
    fleet.succeed("video_c")
    fleet.submit("video_waiting")
    status, _, error = admin("purge", "--state", "failed", "--older-than", "0s")
    assert (status, "2 videos would go; say so with --yes" in error) == (2, True)
    assert admin("purge", "--older-than", "1h", "--json", "--yes")[1] == {"purged": []}
    assert admin("purge", "--tenant", "globex", "--older-than", "0s", "--yes", "--json")[1] == {"purged": []}
    status, facts, _ = admin("purge", "--state", "failed", "--older-than", "0s", "--yes", "--json")
    assert (status, sorted(facts["purged"])) == (0, ["video_a", "video_b"])
    janitor = Janitor(fleet.jobs, fleet.artifacts, lease_s=15)
    assert janitor.clear_doomed().jobs == 2
    assert fleet.jobs.get("acme", "video_a") is None
    assert fleet.jobs.gone("acme", "video_a")  # 410, not 404
    assert fleet.jobs.get("acme", "video_c") is not None
    assert fleet.jobs.get("acme", "video_waiting").state == "queued"


def test_keys_audit_names_scopes_and_keys_that_nobody_uses(fleet, admin):
    keys = KeyStore(fleet.store)
    used, _ = keys.create("acme", [Scope.READ, Scope.WRITE])
    unused, _ = keys.create("globex", [Scope.ADMIN])
    (digest,) = (d for d, r in fleet.redis.hgetall("{mc}:apikeys").items() if r.startswith(used.encode()))
    now = fleet.redis.time()[0]
    fleet.redis.hset("{mc}:apikeys-used", digest, now)
    assert admin("keys", "audit")[1].count("UNUSED") == 0
    status, facts, _ = admin("keys", "audit", "--unused-for", "0s", "--json")
    assert status == 0
    seen = {fact["id"]: (fact["scopes"], fact["never_used"], fact["last_used_at"]) for fact in facts}
    assert seen == {used: (["read", "write"], False, now), unused: (["admin"], True, None)}
    fleet.redis.hset("{mc}:apikeys-used", digest, now - 100 * 86400)
    page = admin("keys", "audit")[1]
    assert [line.split()[0] for line in page.splitlines() if "UNUSED for 100 days" in line] == [used]
    assert "never used" in page


def test_replay_sends_a_jobs_letters_again_and_those_of_a_time(fleet, admin):
    fleet.fail("video_a")
    told = fleet.settle(Verdict.DELIVERED)
    assert len(told) == 2
    fleet.fail("video_b", tenant="globex")
    dead = fleet.settle(Verdict.DEAD)
    assert admin("replay", "--video", "video_a", "--json")[1] == {"sent_again": []}
    _, facts, _ = admin("replay", "--video", "video_a", "--all", "--json")
    assert facts["sent_again"] == sorted(told)
    assert sorted(fleet.settle(Verdict.DELIVERED)) == sorted(told)
    assert admin("replay", "--since", "1h", "--tenant", "acme", "--json")[1] == {"sent_again": []}
    assert admin("replay", "--since", "2h", "--until", "1h", "--json")[1] == {"sent_again": []}
    assert admin("replay", "--since", "1h", "--json")[1] == {"sent_again": sorted(dead)}
    assert sorted(fleet.settle(Verdict.DELIVERED)) == sorted(dead)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["replay"], "give either --video or --since"),
        (["replay", "--since", "1h", "--video", "video_a"], "give either --video or --since"),
        (["replay", "--since", "1h", "--until", "2h"], "must not be after --until"),
        (["pause", "pool", "--reason", "x"], "name the pool"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(fleet, admin, words, complaint):
    status, _, error = admin(*words)
    assert (status, complaint in error) == (2, True), error


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["purge", "--older-than", "soon"], "argument --older-than: must be a time such as"),
        (["purge", "--older-than", "7d", "--state", "running"], "argument --state: invalid choice"),
        (["replay", "--since", "yesterday"], "argument --since: must be a time such as"),
        (["purge"], "--older-than"),
    ],
)
def test_what_cannot_be_read_names_the_flag_and_the_bound(words, complaint, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["admin", *words])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
