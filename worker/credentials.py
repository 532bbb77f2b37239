"""Content credentials (C2PA 2.x): a film's own file says who made it, with which model, and of what.

The manifest goes into the finished MP4, as a `uuid` box between `ftyp` and `moov`; pictures and their frame
digest are as before. No prompt stands in it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import RedisError

from service.contracts.job import VideoJob
from service.contracts.model_spec import ModelSpec
from service.logs import get_logger
from service.storage.artifact_store import ArtifactStore, StorageError
from service.store.store import JobStore
from worker.attempt import Attempt
from worker.encode import CONTENT_TYPE, EncodeFailed
from worker.signing_certificate import UnusableCertificate, own_certificate, read_certificate

if TYPE_CHECKING:
    from worker.settings import WorkerSettings

#: IPTC's word for pictures that a trained model made.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

#: From an attempt and its MP4 to the signed MP4. Raises EncodeFailed.
Sign: TypeAlias = Callable[[Attempt, bytes], bytes]
#: The MP4 that an attempt's job was made of; None: of none, or it is not to be had any more.
Earlier: TypeAlias = Callable[[Attempt], bytes | None]


def unsigned(_attempt: Attempt, film: bytes) -> bytes:
    """For operators who switched credentials off."""
    return film


def earlier_film(store: JobStore, storage: ArtifactStore, attempt: Attempt) -> bytes | None:
    """An extension's copy, or what a remix was made of while that still exists: it is not waited for."""
    old_id = attempt.request.remixed_from
    if attempt.source is not None or old_id is None:
        return attempt.source
    with suppress(RedisError, StorageError):
        old = store.get(attempt.job.tenant, old_id)
        if old is not None and old.artifact is not None:
            return b"".join(storage.read(old.artifact.key))
    return None


def signer_of(settings: WorkerSettings, spec: ModelSpec, earlier: Earlier) -> Sign:
    """What signs the films of this model. The log says loudly when it is by a certificate that nobody trusts.

    Raises UnusableCertificate, also without the library: films without credentials are the operator's choice
    (MICROCINEMA_CREDENTIALS=false), never an accident.
    """
    if not settings.credentials:
        return unsigned
    try:
        import c2pa
    except ImportError:
        raise UnusableCertificate(
            "content credentials need c2pa-python: run `pip install 'microcinema[worker]'`, or set "
            "MICROCINEMA_CREDENTIALS=false"
        ) from None
    if settings.credentials_chain is not None and settings.credentials_key is not None:
        found = read_certificate(settings.credentials_chain, settings.credentials_key)
    else:
        folder = settings.credentials_dir.expanduser()
        found = own_certificate(folder)
        get_logger("worker").warning(
            "test_certificate",
            folder=str(folder),
            note="videos are signed by a certificate of this machine that nobody else trusts; set "
            "MICROCINEMA_CREDENTIALS_CHAIN and MICROCINEMA_CREDENTIALS_KEY to sign by your own",
        )
    info = c2pa.C2paSignerInfo(getattr(c2pa.C2paSigningAlg, found.algorithm), found.chain, found.key, None)
    try:
        signer = c2pa.Signer.from_info(info)
    except c2pa.C2paError as error:
        raise UnusableCertificate(f"the library refuses the certificate: {error}") from error

    def sign(attempt: Attempt, film: bytes) -> bytes:
        signed, old = io.BytesIO(), earlier(attempt)
        told = manifest(attempt.job, spec)
        # With the old film's bytes its own manifest comes along, and is judged with the new one.
        named = told.pop("ingredients") if old is not None else []
        try:
            with c2pa.Builder(json.dumps(told)) as builder:
                for each in named:
                    builder.add_ingredient(json.dumps(each), CONTENT_TYPE, io.BytesIO(old or b""))
                builder.sign(signer, CONTENT_TYPE, io.BytesIO(film), signed)
        except c2pa.C2paError as error:
            raise EncodeFailed(f"the film could not be signed: {error}") from error
        return signed.getvalue()

    return sign


def manifest(job: VideoJob, spec: ModelSpec) -> dict[str, Any]:
    """What is said of a film, as the library takes it."""
    agent = {"name": spec.name, "version": spec.weight_hash}
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
    wish = job.request
    old_id = wish.extends.video_id if wish.extends is not None else wish.remixed_from
    named = {"title": f"{old_id}.mp4", "relationship": "inputTo", "format": CONTENT_TYPE}
    return {
        "claim_generator_info": [{"name": "MicroCinema", "version": version("microcinema")}],
        "title": f"{job.id}.mp4",
        "ingredients": [] if old_id is None else [named],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
