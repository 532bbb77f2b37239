"""A worker whose files may not grow (`ulimit -f`): nothing that was accepted is lost, and it lives on."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)

LESS_THAN_A_VIDEO = 6000  # bytes; the worker's log, a file too, is shorter


def test_a_video_that_no_file_holds_costs_neither_the_worker_nor_the_job(
    start_service: Callable[..., Any],
) -> None:
    service = start_service()
    worker = service.worker()
    before = service.wait_for(service.create()["id"], "succeeded")
    assert before["video"]["bytes"] > LESS_THAN_A_VIDEO
    _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (LESS_THAN_A_VIDEO, most))
    logged = len(worker.output())
    ended = service.wait_for(service.create()["id"], "succeeded", "failed")
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1), "it waited for the storage in memory"
    assert worker.output()[logged:].count("spool_folder_refused") == 1
    assert worker.alive()
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most, most))
    assert service.wait_for(service.create()["id"], "succeeded")["attempts"] == 1
