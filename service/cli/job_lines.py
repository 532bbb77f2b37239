"""What happened to a job, in a line each, for `microcinema logs`: tries, their ends, and who was told."""

from collections.abc import Iterable
from datetime import UTC, datetime

from service.client import Delivery, Video


def log_lines(video: Video, deliveries: Iterable[Delivery]) -> list[str]:
    """In order of time, UTC. Attempts are the last 20, tries of a delivery too."""
    told: list[tuple[float, str]] = []
    if video.created_at is not None:
        told.append((video.created_at, f"accepted    {video.model}, {video.size}, seed {video.seed}"))
    for attempt in video.attempt_log:
        told.append((attempt.started_at, f"attempt {attempt.number}   begun by {attempt.worker}"))
        if attempt.ended_at is not None:
            why = f" ({attempt.reason})" if attempt.reason else ""
            told.append((attempt.ended_at, f"attempt {attempt.number}   ended: {attempt.outcome}{why}"))
    for delivery in deliveries:
        name = f"{delivery.type} to {delivery.host}"
        told.append((delivery.created_at, f"webhook     {name}: {delivery.state}"))
        told += [
            (each.at, f"webhook     {name}: try {each.number} {each.verdict}: {each.reason}")
            for each in delivery.log
        ]
    if video.completed_at is not None:
        reason = f": {video.error.message} ({video.error.code})" if video.error else ""
        told.append(
            (video.completed_at + 0.999, f"{video.state}{reason}")
        )  # whole seconds, behind its attempt
    else:
        told.append((float("inf"), f"now         {video.state}, {video.progress} %"))
    return [f"{_moment(at)}  {line}" for at, line in sorted(told, key=lambda each: each[0])]


def _moment(seconds: float) -> str:
    if seconds == float("inf"):
        return " " * len("2026-11-27 04:00:00Z")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
