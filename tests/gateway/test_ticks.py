"""How long a step that a worker has told takes to those who listen and those who look."""

import time
from contextlib import closing
from typing import Any

from service.client import Client
from service.contracts.lifecycle import Stage
from service.store.nouns import Note


def test_a_tick_reaches_who_listens_and_who_looks_within_a_second(site: Any) -> None:
    video, claim = site.create()["id"], site.worker.claim()
    with Client(site.url) as client, closing(client.events(video)) as said:
        assert [next(said).type for _ in range(2)] == ["video.queued", "video.started"]
        for step in (1, 250, 500):  # the last one too, which nothing pushes on
            began = time.monotonic()
            assert site.jobs.note(video, claim.attempt, Note(Stage.IMAGE_TO_VIDEO, step, 500, step // 6))
            assert client.get(video).step == step
            assert next(said).step == step
            assert time.monotonic() - began < 1.0
