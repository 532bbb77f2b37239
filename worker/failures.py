"""From an exception to what it means for the job and for the worker."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.errors import NonFinite, PictureWithheld
from service.contracts.failure import Failure, FailureCode
from service.storage.artifact_store import StorageUnavailable
from worker.device.accelerator import Accelerator
from worker.film.encode import EncodeFailed
from worker.moderation import CheckFailed, ContentRefused

MESSAGE_MAX_CHARS = 1000


class BadInput(Exception):
    """The request cannot be served as it stands; the text, for the client, names field, value and bound."""


class Remedy(StrEnum):
    """What to do about it.

    FAIL: the same work would fail again, the job ends. GIVE_BACK: the cause lies outside of the job, it goes
    back to the queue. LEAVE: the device is broken, the worker gives the job back as a loss and ends.
    """

    FAIL = "fail"
    GIVE_BACK = "give_back"
    LEAVE = "leave"


@dataclass(frozen=True)
class Verdict:
    """What an exception means.

    `expected` is False for a cause that nobody has foreseen: log its traceback.
    """

    remedy: Remedy
    failure: Failure
    expected: bool = True


def judge(error: Exception, accelerator: Accelerator) -> Verdict:
    """Name the cause of `error`. Text for clients never carries the text of an unforeseen exception."""
    match error:
        case ContentRefused() | PictureWithheld():
            return _fail(FailureCode.CONTENT_POLICY, str(error), retryable=False)
        case CheckFailed():
            sentence = (
                "the content policy could not be checked, so nothing was made; the operator's log says why"
            )
            failure = _failure(FailureCode.INTERNAL, sentence, retryable=True)
            return Verdict(Remedy.FAIL, failure, expected=False)
        case BadInput():
            return _fail(FailureCode.INVALID_INPUT, str(error), retryable=False)
        case NonFinite():
            return _fail(FailureCode.NON_FINITE, str(error), retryable=False)
        case EncodeFailed():
            return _fail(FailureCode.ENCODE_FAILED, str(error), retryable=False)
        case StorageUnavailable():
            # Its text names buckets and folders, which are the operator's; the log has it.
            sentence = "the storage did not take or give an object for too long"
            failure = _failure(FailureCode.STORAGE_UNAVAILABLE, sentence, retryable=True)
            return Verdict(Remedy.GIVE_BACK, failure)
    if accelerator.is_out_of_memory(error):
        sentence = (
            "the device has too little memory for this size and number of frames, "
            "even for this video alone and by every sparing way"
        )
        return _fail(FailureCode.OUT_OF_MEMORY, sentence, retryable=False)
    if accelerator.is_broken(error):
        sentence = "the device reported an error; the worker starts afresh"
        return Verdict(Remedy.LEAVE, _failure(FailureCode.INTERNAL, sentence, retryable=True), expected=False)
    sentence = f"the worker met an unexpected {type(error).__name__}; the operator's log has the details"
    return Verdict(Remedy.FAIL, _failure(FailureCode.INTERNAL, sentence, retryable=True), expected=False)


def _fail(code: FailureCode, sentence: str, *, retryable: bool) -> Verdict:
    return Verdict(Remedy.FAIL, _failure(code, sentence, retryable=retryable))


def _failure(code: FailureCode, sentence: str, *, retryable: bool) -> Failure:
    return Failure(code=code, message=sentence[:MESSAGE_MAX_CHARS] or code.value, retryable=retryable)
