"""How much work a video is, before anybody has measured it."""

from service.contracts.request import VideoRequest

PIXELS_PER_UNIT = 1_000_000


def work_of(request: VideoRequest) -> float:
    """The denoising that a video takes: steps x frames x megapixels, twice that under guidance.

    What a unit takes of a GPU differs from model to model and is measured (lua/waiting.lua). Stage 1 makes
    one picture beside all those frames, and decoding grows with them: the measured pace covers both.
    """
    passes = 2 if request.guidance_scale > 1 else 1
    pixels = request.width * request.height
    return passes * request.num_inference_steps * request.num_frames * pixels / PIXELS_PER_UNIT
