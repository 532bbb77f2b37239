"""Content credentials (C2PA 2.x): a film's own file says who made it, with which model, and of what.

The manifest goes into the finished MP4, as a `uuid` box between `ftyp` and `moov`; pictures and their frame
digest are as before. No prompt stands in it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

from service.contracts.job import VideoJob
from service.contracts.model_spec import ModelSpec
from service.logs import get_logger
from worker.attempt import Attempt
from worker.film.encode import CONTENT_TYPE, EncodeFailed
from worker.provenance.certificate import UnusableCertificate, own_certificate, read_certificate
from worker.provenance.ingredients import Ingredient

if TYPE_CHECKING:
    from worker.settings import WorkerSettings

#: IPTC's word for pictures that a trained model made.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

#: From an attempt and its MP4 to the signed MP4. Raises EncodeFailed.
Sign: TypeAlias = Callable[[Attempt, bytes], bytes]
#: From an attempt to what its film is made of.
MadeOf: TypeAlias = Callable[[Attempt], Sequence[Ingredient]]

#: More bytes than this of others' credentials no film takes along: a client chooses what its picture carries.
OTHERS_BYTES_MAX = 2 * 1024**2

#: Nothing is fetched because a client's picture says where its credentials lie, and no small copy of that
#: picture, of what was cut off it either, goes into the film.
_LIBRARY = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


def unsigned(_attempt: Attempt, film: bytes) -> bytes:
    """For operators who switched credentials off."""
    return film


def signer_of(settings: WorkerSettings, spec: ModelSpec, made_of: MadeOf) -> Sign:
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

    context = c2pa.Context.from_dict(_LIBRARY)

    def signed(told: dict[str, Any], ingredients: Sequence[Ingredient], film: bytes) -> bytes:
        body = io.BytesIO()
        named = [_named(each) for each in ingredients if each.body is None]
        with c2pa.Builder(json.dumps(told | {"ingredients": named}), context=context) as builder:
            for each in ingredients:
                if each.body is not None:  # its own manifest comes along, and is judged with the new one
                    whole = json.dumps(_named(each))
                    builder.add_ingredient(whole, each.content_type, io.BytesIO(each.body))
            builder.sign(signer, CONTENT_TYPE, io.BytesIO(film), body)
        return body.getvalue()

    def sign(attempt: Attempt, film: bytes) -> bytes:
        told, ingredients = manifest(attempt.job, spec), made_of(attempt)
        with suppress(c2pa.C2paError):  # a client's picture may carry what no library reads
            body = signed(told, ingredients, film)
            if len(body) - len(film) <= OTHERS_BYTES_MAX:
                return body
        try:
            return signed(told, [replace(each, body=None) for each in ingredients], film)
        except c2pa.C2paError as error:
            raise EncodeFailed(f"the film could not be signed: {error}") from error

    return sign


def manifest(job: VideoJob, spec: ModelSpec) -> dict[str, Any]:
    """What is said of a film but its ingredients, as the library takes it."""
    agent = {"name": spec.name, "version": spec.weight_hash}
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
    return {
        "claim_generator_info": [{"name": "MicroCinema", "version": version("microcinema")}],
        "title": f"{job.id}.mp4",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }


def _named(ingredient: Ingredient) -> dict[str, str]:
    return {"title": ingredient.title, "relationship": "inputTo", "format": ingredient.content_type}
