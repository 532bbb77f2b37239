"""A fact about a job, with its place in the job's story."""

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """`seq` counts 1, 2, 3, ... per job; `created_at` is seconds since 1970 by the Redis server's clock.

    `id` is "evt_<job>_<seq>": the same fact always carries the same id, however often it is told.
    `data` holds at least the job's id, state, status (OpenAI's word) and attempt.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    seq: int
    type: str
    job_id: str
    tenant: str
    created_at: float
    data: dict[str, Any]

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        """Read the fields of an entry of a job's event stream or of the outbox (extra fields are left)."""
        return cls.model_validate({**fields, "data": json.loads(fields["data"])})
