"""What decides about a submission before the record is asked: its model, its digest, its idempotency key."""

import hashlib
import json
from collections.abc import Sequence

from service.contracts.model_spec import ModelSpec
from service.fields import CreateVideo
from service.refusals import FieldFault, InvalidFields, NoModelYet, UnknownModel, shown
from service.store.nouns import CatalogueEntry

MAX_IDEMPOTENCY_KEY_CHARS = 255


def chosen_model(
    entries: Sequence[CatalogueEntry], asked: CreateVideo, faults: Sequence[FieldFault]
) -> ModelSpec:
    """The model asked for, or the first one.

    `faults` are those found so far: they hold for any model, so they come before UnknownModel and NoModelYet.
    """
    wanted = asked.model
    for entry in entries:
        if wanted is None or entry.spec.name == wanted:
            return entry.spec
    if faults:
        raise InvalidFields(faults)
    if not entries:
        raise NoModelYet("no worker has announced a model yet; start one, or try again in a moment")
    names = ", ".join(entry.spec.name for entry in entries)
    raise UnknownModel(f"no model {shown(wanted)}; known models: {names}", param="model")


def request_digest(asked: CreateVideo, picture: bytes | None) -> str:
    """sha256 of what the client asked, before seed and defaults: equal for equal requests, JSON or form."""
    fields = asked.model_dump(mode="json", exclude_none=True)
    told = {"fields": fields, "picture": None if picture is None else hashlib.sha256(picture).hexdigest()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def checked_idempotency_key(key: str | None) -> str | None:
    """The key itself, if it can be kept; else InvalidFields."""
    if key is None:
        return None
    if not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARS and key.isascii() and key.isprintable()):
        bound = f"1 to {MAX_IDEMPOTENCY_KEY_CHARS} printable ASCII characters"
        raise InvalidFields([FieldFault.of("Idempotency-Key", key, bound)])
    return key
