"""A process that films on request, for benchmarks.render: python -m benchmarks.filming

A line with a number N on standard input makes N films as one batch by the default preset, each encoded as it
is served; a line of JSON answers with the seconds it took and the most memory ever used (bytes). Warm from
the first line on.
"""

import json
import os
import resource
import sys
import time

import torch

from models.cinema import Cinema
from models.evaluation.films import Recipe, make_films
from models.training.captions import held_out_prompts
from worker.film.encode import encode_mp4


def main() -> None:
    """Load, warm up, say so, then film until the input ends."""
    cinema = Cinema.load(device="cpu")
    cinema.warm_up()
    recipe, fps = Recipe.of(cinema.spec), cinema.spec.fps
    prompts = [prompt for prompt, _ in held_out_prompts(64, seed=0)]
    _say({"threads": torch.get_num_threads(), "cores": os.cpu_count()})
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter()
        for film in make_films(cinema, recipe, [(prompts[n], n) for n in range(count)]):
            encode_mp4(film.frames, fps=fps, expected_frames=len(film.frames))
        seconds = time.perf_counter() - began
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _say({"seconds": seconds, "peak_rss_bytes": peak_kib * 1024})


def _say(said: dict[str, object]) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
