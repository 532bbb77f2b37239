"""The least that a FastAPI app could do: the same write to Redis for a POST, the same read for a GET.

`python -m benchmarks.bare_app PORT`, with REDIS_URL. No keys, bounds, idempotency, logs, metrics or
links; the body is a pydantic model, and the answer says id, status and progress. It is served as the gateway
is, by the same HTTP/1.1 of ours on uvicorn's loop.
"""

import os
import sys
from typing import Literal

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.queue_depth import REQUEST
from service.contracts.ids import new_video_id
from service.contracts.lifecycle import TABLE
from service.http_protocol import ClientTimeouts, impatient_protocol
from service.store.connections import connect_async
from service.store.nouns import Submission
from service.store.script import AsyncStore
from service.store.store import AsyncJobStore


class Ask(BaseModel):
    """The body of a POST."""

    prompt: str
    seed: int


class Status(BaseModel):
    """Its answer."""

    id: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int


def app_over(redis_url: str) -> FastAPI:
    """Two routes over the record's own commands."""
    jobs = AsyncJobStore(AsyncStore(connect_async(redis_url)))
    app = FastAPI()

    @app.post("/videos", status_code=202)
    async def create_video(asked: Ask) -> Status:
        request = REQUEST.model_copy(update={"prompt": asked.prompt, "seed": asked.seed})
        name = new_video_id()
        await jobs.submit(Submission(name, "default", request, "default", "same", name, 10**9, 3600.0))
        return Status(id=name, status="queued", progress=0)

    @app.get("/videos/{video_id}")
    async def retrieve_video(video_id: str) -> Status:
        job = await jobs.get("default", video_id)
        assert job is not None
        return Status(id=job.id, status=TABLE[job.state].openai_status, progress=job.progress)

    return app


if __name__ == "__main__":
    app, timeouts = app_over(os.environ["REDIS_URL"]), ClientTimeouts(head_s=10.0, send_s=60.0)
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
        server_header=False,
        http=impatient_protocol(timeouts, lambda: None, lambda _: None),
    )
