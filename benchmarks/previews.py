"""What previews cost both stages and the decoding behind them: python -m benchmarks.previews

Every round makes the same film with and without them, in alternating order, so that a slow minute of the
machine hits both. Counted is the CPU time of the whole process, the thread that makes the pictures included,
which a busy machine does not change; looking is paced by it too. Left out is the record: one small write per
preview.
"""

import argparse
import statistics
import time
from collections.abc import Generator, Sequence
from typing import TypeVar

from models.cinema import Cinema, frame_digest
from models.orders import PictureOrder, Progress, VideoOrder
from service.contracts.job import VideoJob
from service.contracts.lifecycle import Stage, State
from service.contracts.preview import Preview
from service.contracts.request import VideoRequest
from worker.attempt import Attempt
from worker.film.previews import Previews
from worker.moderation import Checkers, Moderator
from worker.settings import WorkerSettings
from worker.watchdog import Pulse

T = TypeVar("T")

PROMPT, SEED = "a red circle moving right on a white background", 7


class Filming:
    """Makes one film of the default preset, again and again."""

    def __init__(self) -> None:
        self._cinema = Cinema.load(device="cpu")
        spec = self._cinema.spec
        width, height = spec.sizes[0]
        self._picture = PictureOrder(
            PROMPT, "", SEED, spec.picture_steps, spec.picture_guidance, width, height
        )
        self._video = VideoOrder(
            PROMPT,
            "",
            SEED,
            spec.video_steps,
            spec.video_guidance,
            spec.noise_prior_gamma,
            spec.frames.default,
            width,
            height,
        )
        request = VideoRequest(
            prompt=PROMPT,
            model=spec.name,
            width=width,
            height=height,
            num_frames=spec.frames.default,
            fps=spec.fps,
            seed=SEED,
            num_inference_steps=spec.video_steps,
            guidance_scale=spec.video_guidance,
            gamma=spec.noise_prior_gamma,
            sampler=self._video.sampler,
        )
        self._job = VideoJob(
            id="video_1",
            tenant="default",
            state=State.RUNNING,
            request=request,
            compat="",
            pool="default",
            created_at=0.0,
        )
        self.shown: list[Preview] = []

    def film(self, *, with_previews: bool) -> tuple[float, str]:
        """CPU seconds, and the film's digest."""
        self.shown.clear()
        settings = WorkerSettings()
        previews = Previews(
            self._show,
            Moderator(Checkers(), lambda _: None),
            max_bytes=settings.preview_bytes if with_previews else 0,
            every_s=settings.preview_every_s,
            tell=lambda _: None,
            clock=time.process_time,
            pulse=Pulse(),
        )
        began = time.process_time()
        attempt = Attempt(self._job, 1, began)

        def watched(stage: Stage, work: Generator[Progress, None, T]) -> T:
            while True:
                try:
                    progress = next(work)
                except StopIteration as end:
                    made: T = end.value
                    return made
                previews.reached(attempt, stage, progress, 0, 1)

        (keyframe,) = watched(Stage.TEXT_TO_IMAGE, self._cinema.paint([self._picture]))
        attempt.keyframe = keyframe
        previews.show_keyframe(attempt)
        latents = watched(Stage.IMAGE_TO_VIDEO, self._cinema.animate([self._video], [keyframe]))
        digest = frame_digest(self._cinema.decode(latents[0]))
        previews.flush()
        return time.process_time() - began, digest

    def _show(self, _job: str, _attempt: int, _number: int, preview: Preview) -> bool:
        self.shown.append(preview)
        return True


def main(argv: Sequence[str] | None = None) -> None:
    """Print the medians, their ratio and what was shown."""
    parser = argparse.ArgumentParser(
        description="Time a film of the shipped model with and without previews."
    )
    parser.add_argument("--rounds", type=int, default=5, help="films of each kind, after one to warm up")
    chosen = parser.parse_args(argv)
    if chosen.rounds < 1:
        parser.error(f"--rounds is {chosen.rounds}; it must be at least 1")
    filming = Filming()
    _, expected = filming.film(with_previews=True)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(chosen.rounds):
        for with_previews in (True, False) if number % 2 else (False, True):
            taken, digest = filming.film(with_previews=with_previews)
            if digest != expected:
                raise SystemExit("previews have changed the film")
            seconds[with_previews].append(taken)
            print(f"{'with' if with_previews else 'without'} {taken:.2f} s", flush=True)
            if with_previews:
                sizes = [len(preview.picture) * 3 // 4 for preview in filming.shown]
    seen, unseen = (statistics.median(seconds[each]) for each in (True, False))
    print(f"with previews {seen:.2f} s of CPU, without {unseen:.2f} s: {seen / unseen:.3f} times")
    print(f"{len(sizes)} pictures a film, {max(sizes)} bytes at most; equal films")


if __name__ == "__main__":
    main()
