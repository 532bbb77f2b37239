"""Body and headers of a webhook: one body that OpenAI's clients and Standard Webhooks 1.0 both read."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from standardwebhooks import Webhook

from service.contracts.event import Event

MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64  # Standard Webhooks 1.0, "Signature scheme"


def body_of(event: Event) -> bytes:
    """`{id, object, type, created_at, timestamp, data}`, the same bytes at every try.

    `created_at` (OpenAI) is whole seconds since 1970, `timestamp` (Standard Webhooks) the same moment in
    ISO 8601; `data` begins with the job's id.
    """
    moment = datetime.fromtimestamp(event.created_at, UTC)
    body = {
        "id": event.id,
        "object": "event",
        "type": event.type,
        "created_at": int(event.created_at),
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"id": event.job_id, **event.data},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Signer:
    """Signs with every secret it holds, newest first, so that receivers can change theirs without a gap.

    A secret is `whsec_` and the base64 of 24 to 64 bytes; ValueError names what is wrong with one.
    """

    secrets: tuple[str, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ValueError("no webhook secret is given")
        for secret in self.secrets:
            _check(secret)

    def headers(self, event_id: str, body: bytes, at: float) -> dict[str, str]:
        """The three headers of one try that is sent `at` (Unix seconds). Only the id is the same at each try:
        receivers refuse a timestamp that is more than five minutes old."""
        moment = datetime.fromtimestamp(int(at), UTC)
        signatures = (Webhook(secret).sign(event_id, moment, body.decode()) for secret in self.secrets)
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": " ".join(signatures),
        }


def _check(secret: str) -> None:
    if not secret.startswith("whsec_"):
        raise ValueError("a webhook secret must start with 'whsec_'")
    try:
        text = secret.removeprefix("whsec_")
        size = len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except ValueError as problem:
        raise ValueError("a webhook secret must be base64 behind 'whsec_'") from problem
    if not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        bounds = f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}"
        raise ValueError(f"a webhook secret holds {size} bytes, allowed are {bounds}")
