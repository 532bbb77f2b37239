"""A typed client of the HTTP API. Needs neither Redis nor a model.

with Client("http://127.0.0.1:8000") as client:
    video = client.wait(client.create("a red circle moving right", seed=7).id)
    video.raise_for_failure()
    client.download(video.id, Path("circle.mp4"))

`AsyncClient` has the same methods, awaited; what is a list there is to be read with `async for`.
"""

from service.client.answers import (
    Attempt,
    Candidate,
    Delivery,
    Endpoint,
    Estimate,
    Gate,
    Model,
    Queue,
    Receipt,
    Reproduction,
    StageReceipt,
    Try,
    Video,
)
from service.client.async_client import AsyncClient
from service.client.calls import ReproduceOptions, VideoOptions
from service.client.errors import (
    Conflict,
    FieldFault,
    InvalidRequest,
    MicroCinemaError,
    NotAllowed,
    NotFound,
    RenderFailed,
    RequestFailed,
    Unavailable,
    Unintelligible,
    Unreachable,
    VideoError,
)
from service.client.events import Heard, VideoEvent, VideoPreview, VideoReset
from service.client.sync_client import Client

__all__ = [
    "AsyncClient",
    "Attempt",
    "Candidate",
    "Client",
    "Conflict",
    "Delivery",
    "Endpoint",
    "Estimate",
    "FieldFault",
    "Gate",
    "Heard",
    "InvalidRequest",
    "MicroCinemaError",
    "Model",
    "NotAllowed",
    "NotFound",
    "Queue",
    "Receipt",
    "RenderFailed",
    "ReproduceOptions",
    "Reproduction",
    "RequestFailed",
    "StageReceipt",
    "Try",
    "Unavailable",
    "Unintelligible",
    "Unreachable",
    "Video",
    "VideoError",
    "VideoEvent",
    "VideoOptions",
    "VideoPreview",
    "VideoReset",
]
