"""One body for two conventions, and signatures that third parties accept."""

import base64
import json
import secrets
import time

import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.contracts.event import Event
from service.notifier.signing import Signer, body_of

VERDICT = {"verdict": "different", "psnr_db": 71.2, "changed": ["batch"]}
EVENT = Event(
    id="evt_video_1_3",
    seq=3,
    type="video.completed",
    job_id="video_1",
    tenant="default",
    created_at=1_800_000_000.25,
    data={
        "id": "video_1",
        "state": "succeeded",
        "status": "completed",
        "attempt": 1,
        "note": "ü",
        "frame_digest": "f" * 64,
        "reproduces_video_id": "video_0",
        "reproduction": VERDICT,
    },
)


def new_secret(size: int = 32) -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(size)).decode()


def test_the_body_serves_openai_and_standard_webhooks() -> None:
    assert json.loads(body_of(EVENT)) == {
        "id": "evt_video_1_3",
        "object": "event",
        "type": "video.completed",
        "created_at": 1_800_000_000,
        "timestamp": "2027-01-15T08:00:00.250Z",
        "data": {
            "id": "video_1",
            "state": "succeeded",
            "status": "completed",
            "attempt": 1,
            "note": "ü",
            "frame_digest": "f" * 64,
            "reproduces_video_id": "video_0",
            "reproduction": VERDICT,
        },
    }
    assert body_of(EVENT) == body_of(EVENT)


@pytest.mark.parametrize("size", [24, 25, 32, 64])
def test_standardwebhooks_accepts_what_we_sign(size: int) -> None:
    secret = new_secret(size)
    body = body_of(EVENT)
    headers = Signer((secret,)).headers(EVENT.id, body, time.time())
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"video_1", b"video_2"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


def test_openai_unwraps_what_we_sign() -> None:
    secret = new_secret()
    body = body_of(EVENT)
    headers = Signer((secret,)).headers(EVENT.id, body, time.time())
    client = openai.OpenAI(api_key="unused", webhook_secret=secret)
    event = client.webhooks.unwrap(body.decode(), headers)
    assert (event.id, event.type, event.data.id) == (EVENT.id, EVENT.type, EVENT.job_id)
    assert (event.data.frame_digest, event.data.reproduction) == ("f" * 64, VERDICT)  # type: ignore[union-attr]
    client.close()


def test_while_a_secret_changes_both_are_good() -> None:
    new, old = new_secret(), new_secret()
    body = body_of(EVENT)
    headers = Signer((new, old)).headers(EVENT.id, body, time.time())
    for secret in (new, old):
        Webhook(secret).verify(body, headers)


def test_each_try_is_signed_for_its_own_time() -> None:
    secret = new_secret()
    signer, body, now = Signer((secret,)), body_of(EVENT), time.time()
    late = signer.headers(EVENT.id, body, now - 301)
    fresh = signer.headers(EVENT.id, body, now)
    assert late["webhook-id"] == fresh["webhook-id"]
    Webhook(secret).verify(body, fresh)
    with pytest.raises(WebhookVerificationError, match="old"):
        Webhook(secret).verify(body, late)


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        ("c2VjcmV0", "must start with 'whsec_'"),
        ("whsec_", "0 bytes, allowed are 24 to 64"),
        (new_secret(23), "23 bytes, allowed are 24 to 64"),
        (new_secret(65), "65 bytes, allowed are 24 to 64"),
        ("whsec_not*base64*at*all*at*all*at*all", "must be base64"),
    ],
    ids=["no prefix", "empty", "short", "long", "no base64"],
)
def test_a_weak_or_broken_secret_is_refused_without_being_shown(secret: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as refusal:
        Signer((secret,))
    assert complaint in str(refusal.value)
    assert secret.removeprefix("whsec_") == "" or secret not in str(refusal.value)


def test_no_secret_is_refused_and_none_is_shown() -> None:
    with pytest.raises(ValueError, match="no webhook secret"):
        Signer(())
    secret = new_secret()
    assert secret not in repr(Signer((secret,)))
