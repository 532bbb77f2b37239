"""Broken pictures, each as a file and by its URL: refused in words, and nothing grows or dies.

Some in every test run, five hundred in `make fuzz`.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.broken_pictures import KINDS, broken_pictures
from rig.picture_host import gives, picture_host

StartService = Callable[..., Any]
COUNT, SEED = int(os.environ.get("MICROCINEMA_BROKEN_PICTURES", "56")), 20_261_126
#: Behind the first round of all kinds, which fills caches and pools: what may stay of all the others.
GROWTH_BYTES = 48 * 1024**2


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def wait_for_all(service: Any, accepted: list[str]) -> None:
    """What was taken could be read, and becomes a video."""
    for video_id in accepted:
        assert service.wait_for(video_id, "succeeded", "failed", seconds=60)["state"] == "succeeded"


@pytest.mark.timeout(600)
def test_broken_pictures_hurt_nobody(start_service: StartService) -> None:
    with picture_host() as host:
        service = start_service(MICROCINEMA_PICTURE_ORIGINS=host.url)
        worker = service.worker()
        gateway = service.running[0]
        answers: Counter[int] = Counter()
        accepted: list[str] = []
        grown_from: list[int] = []

        def note(name: str, answer: httpx.Response) -> None:
            answers[answer.status_code] += 1
            assert answer.status_code in (202, 422), f"{name}: {answer.text}"
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            else:
                assert [each["field"] for each in answer.json()["errors"]] == ["input_reference"], answer.text

        began = time.monotonic()
        with service.client() as client:
            for index, (name, raw) in enumerate(broken_pictures(COUNT, SEED)):
                fields = {"prompt": "a red circle", "fit": ("cover", "contain")[index % 2]}
                files = {"input_reference": (f"{name}.png", raw, "image/png")}
                note(name, client.post("/videos", data=fields, files=files))
                host.paths["/x"] = gives(raw)
                by_url = {"input_reference": {"image_url": f"{host.url}/x"}}
                note(name, client.post("/videos", json=fields | by_url))
                if index == len(KINDS):
                    wait_for_all(service, accepted)
                    grown_from = [resident_bytes(each.pid) for each in (gateway, worker)]
        took_s = time.monotonic() - began
        wait_for_all(service, accepted)
        assert (gateway.alive(), worker.alive()) == (True, True)
        for process, before in zip((gateway, worker), grown_from, strict=True):
            grown = resident_bytes(process.pid) - before
            print(f"{process.name}: resident {before / 2**20:.0f} MiB and {grown / 2**20:+.1f} MiB since")
            assert grown < GROWTH_BYTES, process.name
        print(f"{dict(answers)} in {took_s:.0f} s, {len(accepted)} accepted")
        assert answers[422] > COUNT
