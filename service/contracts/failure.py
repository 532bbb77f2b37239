"""Why a job did not become a video."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FailureCode(StrEnum):
    """Stable words for programs; the sentence beside them is for people."""

    INVALID_INPUT = "invalid_input"
    OUT_OF_MEMORY = "out_of_memory"
    CONTENT_POLICY = "content_policy"
    NON_FINITE = "non_finite"
    ENCODE_FAILED = "encode_failed"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    WORKER_LOST = "worker_lost"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    INTERNAL = "internal"


class Failure(BaseModel):
    """Code, sentence, retry verdict: `retryable` says whether the same request may work if sent again."""

    model_config = ConfigDict(frozen=True)

    code: FailureCode
    message: str = Field(min_length=1, max_length=1000)
    retryable: bool
