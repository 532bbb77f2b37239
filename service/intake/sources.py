"""Videos that others are made of."""

from service.contracts.artifact import Artifact
from service.contracts.job import VideoJob
from service.contracts.lifecycle import State
from service.intake.intake import Intake
from service.source_refusals import SourceNotReady


async def finished_source(intake: Intake, tenant: str, video_id: str, use: str) -> tuple[VideoJob, Artifact]:
    """The succeeded video `video_id` and its film; `use` is what it is to be, as in "remixed".

    Raises UnknownVideo, VideoGone or SourceNotReady.
    """
    source = await intake.show(tenant, video_id)
    if source.state is not State.SUCCEEDED or source.artifact is None:
        raise SourceNotReady(f"the video {video_id} is {source.state}: only one that succeeded can be {use}")
    return source, source.artifact
