"""`microcinema models`: what a person reads of a model before asking it for a video."""

from __future__ import annotations

from typing import Any

import pytest

from service.cli.main import main
from service.cli.model_lines import model_lines


def model(live_workers: int = 1, **changes: Any) -> dict[str, Any]:
    """One entry of `GET /models`, as it comes over HTTP."""
    spec: dict[str, Any] = {
        "name": "ltx",
        "weight_hash": "0123456789abcdef",
        "sizes": [[704, 480], [768, 512]],
        "frames": {"min": 9, "max": 257, "default": 97, "multiple_of": 8, "offset": 1},
        "fps": {"min": 1, "max": 30, "default": 25},
        "steps": {"min": 4, "max": 50, "default": 50},
        "guidance_scale": {"min": 1, "max": 15, "default": 3},
        "gamma": {"min": 0, "max": 0, "default": 0},
        "prompt_max_chars": 1000,
        "max_picture_pixels": 1000000,
        "image_input": True,
        "image_required": True,
        "keyframe": "first",
        "samplers": ["FlowMatchEulerDiscrete"],
        "description": "LTX-Video through diffusers.",
        "license": "LTX-Video Open Weights License",
        "memory_bytes": int(25.6 * 2**30),
    }
    return {"id": spec["name"], "live_workers": live_workers, "spec": spec | changes}


def test_a_model_in_full() -> None:
    assert list(model_lines(model())) == [
        "ltx  (1 worker; LTX-Video Open Weights License)",
        "  LTX-Video through diffusers.",
        "  sizes    704x480, 768x512",
        "  frames   9 to 257, 1 above a multiple of 8, default 97",
        "  fps      1 to 30, default 25",
        "  steps    4 to 50, default 50; guidance 1 to 15, default 3",
        "  picture  required; it becomes the first frame",
        "  gamma    none",
        "  memory   25.6 GiB of its device, counted",
    ]
    assert not any("memory" in line for line in model_lines(model(memory_bytes=None)))  # an older worker


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"image_required": False},
            "  picture  optional, painted from the text without one; it becomes the first",
        ),
        (
            {"keyframe": None, "image_input": False, "image_required": False},
            "  picture  none: the video comes",
        ),
        ({"image_input": False, "image_required": False}, "  picture  none of your own: the first frame is"),
        ({"gamma": {"min": 0, "max": 0.05, "default": 0.02}}, "  gamma    0 to 0.05, default 0.02"),
        ({"frames": {"min": 8, "max": 32, "default": 16}}, "  frames   8 to 32, default 16"),
    ],
)
def test_what_differs_between_models(changes: dict[str, Any], says: str) -> None:
    assert any(line.startswith(says) for line in model_lines(model(**changes)))


def test_workers_are_counted() -> None:
    assert "no live worker, requests wait" in next(model_lines(model(live_workers=0)))
    assert "(2 workers;" in next(model_lines(model(live_workers=2)))


def test_the_command_speaks_to_the_service(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MICROCINEMA_PORT", "1")
    assert main(["models"]) == 1
    assert capsys.readouterr().err.startswith("microcinema: http://127.0.0.1:1 does not answer")
