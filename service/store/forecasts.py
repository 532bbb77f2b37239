"""Commands that look ahead: a waiting job's place and when its video should be there."""

from collections.abc import Sequence

from service.contracts.cost import work_of
from service.contracts.request import VideoRequest
from service.store.nouns import Forecast
from service.store.script import Command


def ahead(job_ids: Sequence[str]) -> Command[dict[str, Forecast]]:
    """For each of these jobs that waits, how many of its pool and model were queued before it, and its ETA.

    An estimate: fair turns and priorities let later ones go first.
    """
    return Command(
        "ahead",
        tuple(job_ids),
        lambda reply: {
            job_id: forecast
            for job_id, told in zip(job_ids, reply, strict=True)
            if (forecast := foretold(*told)) is not None
        },
    )


def foretold(place: int, p50: str, p90: str) -> Forecast | None:
    """What the scripts say of one job; None: it does not wait."""
    return Forecast(place, _seconds(p50), _seconds(p90)) if place >= 0 else None


def estimate(pool: str, request: VideoRequest) -> Command[Forecast]:
    """What a video would cost, and when it would be there, if it were asked for now."""
    return Command(
        "estimate",
        (pool, request.model, work_of(request)),
        lambda reply: Forecast(reply[0], _seconds(reply[2]), _seconds(reply[3]), _seconds(reply[1])),
    )


def _seconds(text: str) -> float | None:
    return float(text) if text else None
