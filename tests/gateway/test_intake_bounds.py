"""A request against a model's bounds: defaults, lengths, and that no fault hides another."""

from collections.abc import Callable
from typing import Any

import pytest

from service.contracts.model_spec import FrameBounds, ModelSpec
from service.contracts.request import VideoRequest
from service.fields.bounds import BoundsCheck
from service.fields.video import read_fields

MakeSpec = Callable[..., ModelSpec]


def check(spec: ModelSpec, **given: Any) -> tuple[VideoRequest | None, list[str]]:
    """The request, and the fields at fault."""
    fields, faults = read_fields(given)
    assert faults == []
    bounds = BoundsCheck(fields, spec)
    request = bounds.request(seed=4711)
    return request, [fault.field for fault in bounds.faults]


def test_the_model_fills_what_the_client_left_open(make_spec: MakeSpec) -> None:
    request, faults = check(make_spec(), prompt="a red circle")
    assert faults == []
    assert request is not None
    assert (request.model, request.width, request.height) == ("micro", 64, 64)
    assert (request.num_frames, request.fps, request.seed, request.sampler) == (16, 8, 4711, "dpm++2m")
    assert (request.num_inference_steps, request.guidance_scale, request.gamma) == (25, 5.0, 0.02)
    assert request.negative_prompt == ""
    assert request.priority == 0


@pytest.mark.parametrize(
    ("given", "num_frames", "fps"),
    [
        ({"seconds": 2}, 16, 8),
        ({"seconds": "1.5"}, 12, 8),
        ({"seconds": 4, "fps": 4}, 16, 4),
        ({"seconds": 0.4, "fps": 10}, 4, 10),  # 0.4 x 10 is exact only on paper
        ({"num_frames": 4}, 4, 8),
        ({"num_frames": 12, "seconds": "1.5"}, 12, 8),
        ({"fps": 30}, 16, 30),
    ],
)
def test_lengths(make_spec: MakeSpec, given: dict[str, Any], num_frames: int, fps: int) -> None:
    request, faults = check(make_spec(), prompt="x", **given)
    assert faults == []
    assert request is not None
    assert (request.num_frames, request.fps) == (num_frames, fps)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"prompt": "x" * 201}, "prompt"),
        ({"negative_prompt": "x" * 201}, "negative_prompt"),
        ({"size": "128x128"}, "size"),
        ({"fps": 0}, "fps"),
        ({"fps": 31}, "fps"),
        ({"num_frames": 3}, "num_frames"),
        ({"num_frames": 17}, "num_frames"),
        ({"num_frames": 6}, "num_frames"),  # not on the grid
        ({"seconds": 0}, "seconds"),
        ({"seconds": -2}, "seconds"),
        ({"seconds": 4}, "seconds"),
        ({"seconds": 1.3}, "seconds"),
        ({"seconds": 1e17}, "seconds"),
        ({"seconds": 1e308}, "seconds"),  # finite, but not as a number of frames
        ({"seconds": -1e308}, "seconds"),
        ({"num_frames": 8, "seconds": 2}, "num_frames"),  # 2 s at 8 fps are 16 frames
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"num_inference_steps": 3}, "num_inference_steps"),
        ({"num_inference_steps": 51}, "num_inference_steps"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"guidance_scale": 15.1}, "guidance_scale"),
        ({"gamma": -0.001}, "gamma"),
        ({"gamma": 0.051}, "gamma"),
        ({"sampler": "euler"}, "sampler"),
        ({"priority": 11}, "priority"),
        ({"priority": -11}, "priority"),
    ],
)
def test_one_step_outside(make_spec: MakeSpec, given: dict[str, Any], field: str) -> None:
    request, faults = check(make_spec(), **{"prompt": "x"} | given)
    assert request is None
    assert faults == [field]


@pytest.mark.parametrize(
    "edge",
    [
        {"prompt": "x" * 200},
        {"fps": 1},
        {"seed": 0},
        {"seed": 2**32 - 1},
        {"num_inference_steps": 4},
        {"guidance_scale": 15},
        {"gamma": 0},
        {"gamma": 0.05},
        {"priority": -10},
    ],
)
def test_both_ends_of_a_bound_are_inside(make_spec: MakeSpec, edge: dict[str, Any]) -> None:
    request, faults = check(make_spec(), **{"prompt": "x"} | edge)
    assert faults == []
    assert request is not None


def test_all_faults_at_once(make_spec: MakeSpec) -> None:
    fields, _ = read_fields({"size": "1x1", "fps": 99, "seed": -1, "seconds": 2, "sampler": "x"})
    bounds = BoundsCheck(fields, make_spec())
    assert bounds.request(seed=0) is None
    # seconds is not blamed: without a frame rate its product would mean nothing
    assert {fault.field for fault in bounds.faults} == {"prompt", "size", "fps", "seed", "sampler"}
    for fault in bounds.faults:
        assert fault.bound in fault.message


def test_a_field_that_could_not_be_read_is_not_blamed_twice(make_spec: MakeSpec) -> None:
    fields, faults = read_fields({"prompt": "\x00", "fps": "x", "seconds": 2})
    bounds = BoundsCheck(fields, make_spec(), frozenset(fault.field for fault in faults))
    assert bounds.request(seed=0) is None
    assert bounds.faults == []


def test_a_grid_with_an_offset_is_spelt_out(make_spec: MakeSpec) -> None:
    spec = make_spec(frames=FrameBounds(min=5, max=17, multiple_of=4, offset=1, default=17))
    fields, _ = read_fields({"prompt": "x", "num_frames": 16})
    bounds = BoundsCheck(fields, spec)
    bounds.request(seed=0)
    assert bounds.faults[0].bound == "5 to 17 frames and 1 above a multiple of 4"
