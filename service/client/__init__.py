"""A typed client of the HTTP API. Needs neither Redis nor a model.

with Client("http://127.0.0.1:8000") as client:
    video = client.wait(client.create("a red circle moving right", seed=7).id)
    video.raise_for_failure()
    client.download(video.id, Path("circle.mp4"))
"""

from service.client.answers import (
    Conflict,
    InvalidRequest,
    MicroCinemaError,
    NotFound,
    RenderFailed,
    RequestFailed,
    Unavailable,
    Unintelligible,
    Unreachable,
    Video,
    VideoError,
    VideoOptions,
)
from service.client.sync_client import Client

__all__ = [
    "Client",
    "Conflict",
    "InvalidRequest",
    "MicroCinemaError",
    "NotFound",
    "RenderFailed",
    "RequestFailed",
    "Unavailable",
    "Unintelligible",
    "Unreachable",
    "Video",
    "VideoError",
    "VideoOptions",
]
