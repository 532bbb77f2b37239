"""How the keyframes of a gated job are shown."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from service.contracts.job import OWN_PICTURE, VideoJob
from service.contracts.request import candidate_seed


class CandidateView(BaseModel):
    """One keyframe to choose from."""

    index: int
    seed: int = Field(description="What it was painted from: asked for without a gate, this makes it again.")
    bytes: int
    sha256: str
    width: int
    height: int
    url: str
    link: str | None = Field(None, description="Signed, for anyone, until `urls.link_expires_at`.")


class GateView(BaseModel):
    """The stop between picture and video. `chosen` is a candidate's index, null for a picture of your own."""

    pause_after: str = "image"
    count: int
    approve_by: int | None = Field(None, description="Unix seconds; the job expires unless approved by then.")
    candidates: list[CandidateView]
    approved: bool
    chosen: int | None = None
    approve: str = Field(description="Where to POST the choice.")


def gate_view(job: VideoJob, place: str, links: Sequence[str] = ()) -> GateView | None:
    """None for a job without a gate. `place` is the job's own address, `links` those of its candidates."""
    if job.request.gate is None:
        return None
    own = job.chosen is not None and job.chosen.startswith(OWN_PICTURE)
    return GateView(
        count=job.request.gate.candidates,
        approve_by=None if job.approve_by is None else int(job.approve_by),
        candidates=[
            CandidateView(
                index=index,
                seed=candidate_seed(job.request, index),
                bytes=stored.bytes,
                sha256=stored.sha256,
                width=stored.width,
                height=stored.height,
                url=f"{place}/content?variant=image&candidate={index}",
                link=links[index] if index < len(links) else None,
            )
            for index, stored in enumerate(job.candidates)
        ],
        approved=job.chosen is not None,
        chosen=None if job.chosen is None or own else int(job.chosen),
        approve=f"{place}/approve",
    )
