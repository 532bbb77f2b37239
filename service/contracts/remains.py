"""What stays on record of a video whose retention is over: how it ended, and nothing that its owner wrote."""

from pydantic import BaseModel, ConfigDict

from service.contracts.job import Time
from service.contracts.lifecycle import State


class Remains(BaseModel):
    """`state`: how the job ended. Times are Unix seconds; at `expired_at` its retention was over."""

    model_config = ConfigDict(frozen=True)

    state: State
    model: str
    created_at: Time
    completed_at: Time
    expired_at: Time
