"""Films made again through the whole service: equal to the bit on one machine, also by the real model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from rig.processes import wait_until
from rig.receiver import Receiver

from service.client import Client
from worker.settings import shipped_weights

StartService = Callable[..., Any]


@pytest.mark.timeout(480)
def test_a_film_of_an_upload_is_equal_though_its_original_was_deleted(start_service: StartService) -> None:
    service = start_service()
    service.worker()
    body = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(body, "PNG")
    with Receiver() as receiver, service.client() as client:
        form = {"prompt": "a red circle", "webhook_url": receiver.url}
        asked = client.post("/videos", data=form, files={"input_reference": ("a.png", body.getvalue())})
        old = service.wait_for(asked.json()["id"], "succeeded", "failed")
        assert old["receipt"]["keyframe"]["origin"] == "upload"
        assert old["receipt"]["frame_digest"] == old["video"]["frame_digest"]
        answer = client.post(f"/videos/{old['id']}/reproduce")
        assert answer.status_code == 202, answer.text
        client.delete(f"/videos/{old['id']}")  # all that is needed is copied
        new = service.wait_for(answer.json()["id"], "succeeded", "failed")
        assert new["reproduction"] == {"verdict": "equal", "psnr_db": None, "changed": [], "reason": None}
        assert new["receipt"] == old["receipt"]
        assert new["reproduces_video_id"] == old["id"]

        def told() -> dict[str, Any]:
            told = [json.loads(each.body) for each in list(receiver.received)]
            return {each["data"]["id"]: each["data"] for each in told if each["type"] == "video.completed"}

        wait_until(lambda: new["id"] in told(), 60, "the same webhook hears of the new job")
        end = told()[new["id"]]
        assert (end["reproduces_video_id"], end["reproduction"]) == (old["id"], {"verdict": "equal"})
        assert end["frame_digest"] == told()[old["id"]]["frame_digest"] == old["receipt"]["frame_digest"]


@pytest.mark.timeout(480)
def test_the_shipped_model_makes_the_same_film_twice(
    start_service: StartService,
) -> None:
    service = start_service(MICROCINEMA_WEIGHTS=str(shipped_weights()))
    service.worker()
    with Client(service.url) as client:
        old = client.create("a red circle moving right on a white background", num_inference_steps=4)
        client.wait(old.id, timeout_s=120).raise_for_failure()
        new = client.wait(client.reproduce(old.id).id, timeout_s=120).raise_for_failure()
    assert new.reproduction is not None
    assert (new.reproduction.verdict, new.reproduction.changed) == ("equal", ())
    assert new.receipt is not None
    assert new.receipt.weight_hash == new.receipt.stages["image_to_video"].weight_hash
    assert new.receipt.device_class.startswith("cpu ")
