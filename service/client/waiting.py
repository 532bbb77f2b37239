"""Looking at a job until it is over, ever more rarely while nothing changes."""

from collections.abc import Callable

from service.client.answers import Video
from service.client.asking import Asking, Pause, Program
from service.client.calls import looking

POLL_S = 0.5
LONGEST_POLL_S = 10.0


def wait(
    asking: Asking,
    video_id: str,
    *,
    on_progress: Callable[[Video], None] | None = None,
    timeout_s: float | None = None,
) -> Program[Video]:
    """Poll until the job is over or waits for `approve`; `on_progress` gets every answer, also the last.

    The first looks are POLL_S apart; where nothing has changed the next wait is half as long again, up to
    LONGEST_POLL_S, and never shorter than the gateway asks for (`openai-poll-after-ms`).
    Raises TimeoutError after `timeout_s` seconds; the job goes on all the same.
    """
    started, pause_s, last = asking.clock(), POLL_S, None
    call = looking(video_id)
    while True:
        answer = yield from asking.answered(lambda: call)
        video = call.read(answer)
        if on_progress is not None:
            on_progress(video)
        if video.over or video.awaits_approval:
            return video
        left_s = None if timeout_s is None else started + timeout_s - asking.clock()
        if left_s is not None and left_s <= 0:
            raise TimeoutError(f"{video_id} is {video.state} ({video.progress} %) after {timeout_s:g} s")
        seen = (video.state, video.stage, video.progress)
        pause_s = min(LONGEST_POLL_S, 1.5 * pause_s) if seen == last else POLL_S
        last = seen
        asked_s = max(pause_s, _poll_after_s(answer.headers.get("openai-poll-after-ms", "")))
        yield Pause(asked_s if left_s is None else min(asked_s, left_s))


def _poll_after_s(said: str) -> float:
    return min(LONGEST_POLL_S, int(said) / 1000) if said.isascii() and said.isdecimal() else 0.0
