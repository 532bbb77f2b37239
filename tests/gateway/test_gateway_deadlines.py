"""start_by and finish_by as clients write them, and an intake that is closed for a while."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.contracts.deadline import Deadline
from service.fields.video import read_fields
from service.store.controls import INTAKE, ControlStore

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("written", "deadline"),
    [
        ("2027-01-31T12:00:00Z", Deadline(NOON, False)),
        ("2027-01-31t13:00:00.5+01:00", Deadline(NOON + 0.5, False)),
        ("2027-01-31 12:00:00.123456789z", Deadline(NOON + 0.123456, False)),
        (600, Deadline(600.0, True)),
        ("90.5", Deadline(90.5, True)),
        ("10m", Deadline(600.0, True)),
        ("2h", Deadline(7200.0, True)),
        ("30d", Deadline(2_592_000.0, True)),
    ],
)
def test_deadlines_that_can_be_read(written: object, deadline: Deadline) -> None:
    asked, faults = read_fields({"prompt": "a red circle", "finish_by": written})
    assert faults == []
    assert asked.finish_by is not None
    assert asked.finish_by.relative is deadline.relative
    assert asked.finish_by.seconds == pytest.approx(deadline.seconds, abs=1e-6)


@pytest.mark.parametrize(
    "written",
    ["2027-01-31T12:00:00", "2027-02-30T12:00:00Z", "2027-01-31", "10 minutes",
     "PT10M", "soon", True, [600], "nan", "1e999", "٣m"],
)  # fmt: skip
def test_deadlines_that_cannot_be_read_name_both_shapes(written: object) -> None:
    _, (fault,) = read_fields({"prompt": "a red circle", "start_by": written})
    assert fault.field == "start_by"
    assert fault.bound == "a time such as 2027-01-31T12:00:00Z, or a delay in seconds or such as 10m"


def rfc3339(ahead: timedelta) -> str:
    return (datetime.now(UTC) + ahead).isoformat()


@pytest.mark.parametrize(
    "written",
    [0.5, -60, "31d", "2001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", rfc3339(timedelta(days=31))],
    ids=["under a second", "past", "31d", "2001", "year 1", "a time in 31 days"],
)
def test_a_deadline_out_of_its_bound_is_a_422(site: Any, written: object) -> None:
    answer = site.client.post("/videos", json={"prompt": "a red circle", "start_by": written})
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["bound"]) == ("start_by", "1 second to 30 days ahead")


def test_start_by_behind_finish_by_is_a_422(site: Any) -> None:
    both = {"prompt": "a red circle", "start_by": "2h", "finish_by": "1h"}
    (fault,) = site.client.post("/videos", json=both).json()["errors"]
    assert (fault["field"], fault["bound"]) == ("start_by", "no later than finish_by")


def test_deadlines_are_shown_as_moments_counted_from_the_acceptance(site: Any) -> None:
    at = datetime.now(UTC) + timedelta(hours=3)
    both = {"prompt": "a red circle", "start_by": "10m", "finish_by": at.isoformat()}
    job = site.client.post("/videos", json=both).json()
    assert job["start_by"] - job["created_at"] in (600, 601)
    assert job["finish_by"] == int(at.timestamp())
    plain = site.client.post("/videos", json={"prompt": "a red circle"}).json()
    assert (plain["start_by"], plain["finish_by"]) == (None, None)


def test_the_same_delay_again_is_the_same_request(site: Any) -> None:
    key = {"idempotency-key": "one"}
    body = {"prompt": "a red circle", "finish_by": "10m"}
    first = site.client.post("/videos", json=body, headers=key)
    again = site.client.post("/videos", json=body | {"finish_by": 600}, headers=key)
    other = site.client.post("/videos", json=body | {"finish_by": "11m"}, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 422)
    assert first.json()["id"] == again.json()["id"]


def test_a_paused_intake_is_a_503_with_the_reason_while_reads_go_on(site: Any) -> None:
    key = {"idempotency-key": "before"}
    body = {"prompt": "a red circle"}
    before = site.client.post("/videos", json=body, headers=key).json()
    controls = ControlStore(site.worker.jobs.store)
    assert controls.pause(INTAKE, "moving the storage")
    refused = site.client.post("/videos", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert refused.json()["error"]["code"] == "intake_paused"
    assert "moving the storage" in refused.json()["detail"]
    assert site.client.post("/videos", json=body, headers=key).json()["id"] == before["id"]
    assert site.client.get(f"/videos/{before['id']}").status_code == 200
    assert [video["id"] for video in site.client.get("/videos").json()["data"]] == [before["id"]]
    ready = site.client.get("/readyz")
    assert ready.status_code == 200
    assert controls.resume(INTAKE)
    assert site.client.post("/videos", json=body).status_code == 202


def test_readiness_and_metrics_tell_of_pauses(site: Any) -> None:
    controls = ControlStore(site.worker.jobs.store)
    controls.pause(INTAKE, "night")
    controls.pause("pool:default", "new cards")
    ready = site.client.get("/readyz").json()
    assert {gate: pause["reason"] for gate, pause in ready["paused"].items()} == {
        "intake": "night",
        "pool:default": "new cards",
    }
    page = site.client.get("/metrics").text
    assert "microcinema_intake_paused 1.0" in page
    assert 'microcinema_pool_paused{pool="default"} 1.0' in page
