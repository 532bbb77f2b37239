"""A client looks at three keyframes, the worker dies meanwhile, another makes the video of the chosen one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rig.processes import wait_until
from rig.receiver import Receiver


@pytest.mark.timeout(240)
def test_what_was_approved_becomes_the_video_that_its_seed_would_have_made_without_a_gate(
    start_service: Callable[..., Any],
) -> None:
    service = start_service()
    first = service.worker("first")
    with Receiver() as receiver, service.client() as client:
        gated = service.create(pause_after="image", candidates=3, webhook_url=receiver.url)
        gate = service.wait_for(gated["id"], "awaiting_approval", "failed")["gate"]
        assert [candidate["seed"] for candidate in gate["candidates"]] == [7, 8, 9]
        wait_until(
            lambda: "video.keyframe_ready" in [json.loads(r.body)["type"] for r in list(receiver.received)],
            60,
            "the webhook says that there is something to choose",
        )
        plain = service.create(seed=8)
        alike = service.wait_for(plain["id"], "succeeded", "failed")
        chosen = gate["candidates"][1]
        assert alike["keyframe"]["sha256"] == chosen["sha256"]

        first.kill()
        assert client.post(f"/videos/{gated['id']}/approve", json={"candidate": 1}).status_code == 200
        service.worker("second")
        video = service.wait_for(gated["id"], "succeeded", "failed")
    assert video["status"] == "completed", video
    assert (video["attempts"], video["gate"]["chosen"]) == (2, 1)
    assert video["keyframe"]["sha256"] == chosen["sha256"]
    assert video["usage"]["text_to_image_seconds"] > 0
    stored = [key.rpartition("/")[2] for key in service.objects(gated["id"])]
    assert sorted(stored) == sorted(
        [*(f"candidate-{index}.png" for index in range(3)), "spritesheet.jpg", "thumbnail.webp", "video.mp4"]
    )
