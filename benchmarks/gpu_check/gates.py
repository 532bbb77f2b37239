"""The gates, each a question with a bar. A gate that this machine cannot answer says SKIP and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.count_network import flops
from benchmarks.gpu_check.bench import NO_GPU, Bench, Outcome, picture_order, video_order
from benchmarks.gpu_check.full_size import whole_films
from models.spec import CinemaSpec
from models.stepwise import result_of
from worker.film.encode import encode_mp4

#: Effective TFLOP/s of a public relative (SVD-XT under TensorRT, AnimateDiff) on these cards: parity.
PARITY: Mapping[str, float] = {"H100": 209.0, "H200": 209.0, "A100": 145.0, "4090": 77.0}
SIDES = (40, 64)  # latents of 320 and 512 pixels


def roofline(bench: Bench) -> Outcome:
    """G1: what the device can do at best, for the other gates to be held against."""
    size = 8192 if bench.on_gpu else 512
    dtype = torch.float16 if bench.on_gpu else torch.float32
    a = torch.randn(size, size, dtype=dtype, device=bench.device)
    product = bench.seconds(lambda: a @ a)
    copied = bench.seconds(a.clone)
    figures = {"gemm_tflops": 2 * size**3 / product / 1e12, "copy_gb_s": 2 * a.nbytes / copied / 1e9}
    return Outcome("G1", "PASS", "none: the measure of the others", figures)


def stage_two_step(bench: Bench) -> Outcome:
    """G2: effective TFLOP/s of a guided step at full size, eagerly run."""
    parity = next((bar for name, bar in PARITY.items() if name in bench.card), None)
    bar = f">= {parity:g} TFLOP/s at 320 pixels" if parity else "none for this card"
    if not bench.on_gpu:
        return Outcome("G2", "SKIP", "H100 209, A100 145, 4090 77 TFLOP/s", why=NO_GPU)
    figures = step_figures(bench, bench.full, SIDES)
    best = figures[f"tflops_{SIDES[0] * 8}px"]
    return Outcome("G2", "FAIL" if parity and best < parity else "PASS", bar, figures)


def step_figures(bench: Bench, spec: CinemaSpec, sides: tuple[int, ...]) -> dict[str, float]:
    """Milliseconds and TFLOP/s of one guided step at each latent side: counted work over measured time."""
    figures = {}
    for side in sides:
        seconds = bench.seconds(bench.step(spec, side))
        counted = flops(spec, spec.frames.default, side)
        work = 2 * (counted.main + counted.fusion + counted.appearnet)
        figures[f"ms_{side * 8}px"] = 1000 * seconds
        figures[f"tflops_{side * 8}px"] = work / seconds / 1e12
    return figures


def end_to_end(bench: Bench) -> Outcome:
    """G3: where the seconds of a film go; what no stage accounts for is idle."""
    cinema = bench.cinema()
    spec = cinema.spec
    began = time.perf_counter()
    marks = [began]

    def mark() -> None:
        bench.wait()
        marks.append(time.perf_counter())

    keyframes = result_of(cinema.paint([picture_order(spec)]))
    mark()
    latents = result_of(cinema.animate([video_order(spec, spec.video_steps)], keyframes))
    mark()
    frames = list(cinema.decode(latents[0]))
    mark()
    encode_mp4(frames, fps=spec.fps, expected_frames=len(frames))
    mark()
    names = ("text_to_image", "image_to_video", "decode", "encode")
    spent = {
        f"{name}_s": after - before for name, before, after in zip(names, marks, marks[1:], strict=False)
    }
    rest = (spent["decode_s"] + spent["encode_s"]) / (marks[-1] - began)
    bar = "decode and encode <= 15 % of a film on a GPU"
    failed = bench.on_gpu and rest > 0.15
    return Outcome("G3", "FAIL" if failed else "PASS", bar, {**spent, "behind_denoising": rest})


def syncs(bench: Bench) -> Outcome:
    """G4: a guided step never makes the host wait for the device."""
    if not bench.on_gpu:
        return Outcome("G4", "SKIP", "no host sync within a step", why=NO_GPU)
    step = bench.step(bench.full, SIDES[0])
    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    except RuntimeError as error:
        return Outcome("G4", "FAIL", "no host sync within a step", why=str(error).splitlines()[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Outcome("G4", "PASS", "no host sync within a step")


def memory(bench: Bench) -> Outcome:
    """G5: a step's peak at 512 pixels, and no growth from film to film."""
    bar = "512 pixels below 16 GB; growth over 20 films < 1 %"
    if not bench.on_gpu:
        return Outcome("G5", "SKIP", bar, why=NO_GPU)
    step = bench.step(bench.full, SIDES[-1])
    torch.cuda.reset_peak_memory_stats(bench.device)
    step()
    peak = torch.cuda.max_memory_allocated(bench.device)
    del step
    cinema = bench.cinema()
    held = []
    for seed in range(21):
        cinema("a red circle moving right on a white background", seed)
        held.append(torch.cuda.memory_allocated(bench.device))
    growth = held[-1] / held[1] - 1
    failed = peak > 16e9 or growth > 0.01
    figures = {"step_peak_gb": peak / 1e9, "growth": growth}
    return Outcome("G5", "FAIL" if failed else "PASS", bar, figures)


def numerics(bench: Bench) -> Outcome:
    """G6: a whole denoising ends in numbers, and attention never falls back to its slow form."""
    cinema = bench.cinema()
    keyframes = result_of(cinema.paint([picture_order(cinema.spec)]))
    latents = result_of(cinema.animate([video_order(cinema.spec, cinema.spec.video_steps)], keyframes))
    figures = {"not_finite": float((~torch.isfinite(latents)).sum()), "largest": float(latents.abs().max())}
    failed = figures["not_finite"] > 0
    why = ""
    if bench.on_gpu:
        step = bench.step(bench.full, SIDES[0])
        try:
            with sdpa_kernel(
                [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
            ):
                step()
        except RuntimeError as error:
            failed, why = True, f"fused attention is not to be had: {str(error).splitlines()[0]}"
    return Outcome("G6", "FAIL" if failed else "PASS", "nothing but numbers; fused attention", figures, why)


def fewer_steps(bench: Bench) -> Outcome:
    """G7: half the steps cost half the time: what is saved on paper is saved on the device."""
    cinema = bench.cinema()
    keyframes = result_of(cinema.paint([picture_order(cinema.spec)]))
    few, many = 6, 12

    def animate(steps: int) -> Callable[[], object]:
        return lambda: result_of(cinema.animate([video_order(cinema.spec, steps)], keyframes))

    ratio = bench.seconds(animate(many)) / bench.seconds(animate(few))
    predicted = many / few
    bar = "measured >= 0.8 of predicted"
    figures = {"measured": ratio, "predicted": predicted}
    return Outcome("G7", "PASS" if ratio >= 0.8 * predicted else "FAIL", bar, figures)


def batch_of_two(bench: Bench) -> Outcome:
    """G8: two films as one batch against one after the other; the bar holds where a GPU has room to fill."""
    cinema = bench.cinema()
    spec = cinema.spec
    keyframes = result_of(cinema.paint([picture_order(spec, seed) for seed in range(2)]))

    def animate(count: int) -> Callable[[], object]:
        orders = [video_order(spec, 6, seed) for seed in range(count)]
        return lambda: result_of(cinema.animate(orders, keyframes[:count]))

    gain = 2 * bench.seconds(animate(1)) / bench.seconds(animate(2))
    if not bench.on_gpu:
        return Outcome("G8", "SKIP", ">= 1.1 times one after the other", {"gain": gain}, NO_GPU)
    return Outcome(
        "G8", "PASS" if gain >= 1.1 else "FAIL", ">= 1.1 times one after the other", {"gain": gain}
    )


def against_diffusers(_: Bench) -> Outcome:
    """G9: no pipeline of diffusers takes MicroCinema's weights, so there is no other side to run."""
    return Outcome("G9", "SKIP", ">= 1.2 times diffusers, same weights", why="diffusers has no such network")


def cold_start(bench: Bench) -> Outcome:
    """G10: ready means warm: the first film behind the warm-up is no slower than the next."""
    began = time.perf_counter()
    cinema = bench.cinema()
    bench.wait()
    ready = time.perf_counter() - began

    def film() -> float:
        begun = time.perf_counter()
        cinema("a red circle moving right on a white background", 7, steps=6)
        bench.wait()
        return time.perf_counter() - begun

    first, others = film(), [film() for _ in range(max(2, bench.runs))]
    second = sorted(others)[len(others) // 2]
    figures = {"ready_s": ready, "first_film_s": first, "next_film_s": second}
    failed = first > 2.0 * max(others)
    return Outcome(
        "G10", "FAIL" if failed else "PASS", "first film <= twice the slowest of the next", figures
    )


GATES: tuple[Callable[[Bench], Outcome], ...] = (
    roofline,
    stage_two_step,
    end_to_end,
    syncs,
    memory,
    numerics,
    fewer_steps,
    batch_of_two,
    against_diffusers,
    cold_start,
    whole_films,
)
