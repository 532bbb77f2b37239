"""One key, one job: repeats, races, other requests, and answers that get lost on the way to Redis."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from rig.tcp_proxy import LossyProxy

from service.access import Shelf
from service.storage.artifact_store import StorageUnavailable
from service.store.script import Library


def post(site: Any, key: str, **fields: Any) -> Any:
    body = {"prompt": "x", **fields}
    return site.client.post("/videos", json=body, headers={"idempotency-key": key})


def test_a_repeat_answers_with_the_first_job_as_it_is_now(site: Any) -> None:
    first = post(site, "k")
    site.worker.render()
    again = post(site, "k")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["seed"] == first.json()["seed"]  # drawn once, although the client named none
    assert again.json()["state"] == "succeeded"
    assert again.headers["location"] == first.headers["location"]


def test_a_repeat_while_the_job_runs_is_the_job_and_no_conflict(site: Any) -> None:
    """The draft of Idempotency-Key has a 409 there, which OpenAI's clients would send again and again."""
    first = post(site, "k")
    site.worker.paint(site.worker.claim())
    again = post(site, "k")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (again.json()["state"], again.json()["attempts"]) == ("running", 1)


def test_the_same_key_for_another_request_is_422(site: Any, png: Any) -> None:
    first = post(site, "k").json()["id"]
    for other in ({"seed": 1}, {"prompt": "y"}, {"metadata": {"a": "b"}}):
        problem = site.problem(422, post(site, "k", **other))
        assert (problem["code"], problem["error"]["param"]) == ("idempotency_conflict", "Idempotency-Key")
    with_picture = site.client.post(
        "/videos",
        data={"prompt": "x"},
        files={"input_reference": ("a.png", png())},
        headers={"idempotency-key": "k"},
    )
    site.problem(422, with_picture)
    assert [video["id"] for video in site.client.get("/videos").json()["data"]] == [first]
    assert list(site.artifacts.list("")) == []


class DeadStorage:
    """Refuses whatever would need the storage; a link asks nothing of it."""

    def __init__(self, artifacts: Any) -> None:
        self.link = artifacts.link

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object, **__: object) -> None:
            raise StorageUnavailable(f"{name}: away")

        return refuse


def test_a_repeat_needs_neither_a_model_nor_the_storage(site: Any, start_gateway: Any, png: Any) -> None:
    def without_storage(parts: Any) -> Any:
        shelf = Shelf(DeadStorage(site.artifacts))
        pictures = replace(parts.intake.pictures, shelf=shelf)
        return replace(parts, shelf=shelf, intake=replace(parts.intake, pictures=pictures))

    request = {
        "data": {"prompt": "x"},
        "files": {"input_reference": ("a.png", png())},
        "headers": {"idempotency-key": "k"},
    }
    first = site.client.post("/videos", **request)
    site.worker.render()
    site.redis.delete("{mc}:catalogue")
    alone = start_gateway(parts=without_storage)
    again = alone.client.post("/videos", **request)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["urls"]["video_link"]
    conflict = alone.problem(422, post(alone, "k"))
    assert conflict["code"] == "idempotency_conflict"
    assert alone.problem(503, post(alone, "new"))["code"] == "no_model_yet"


def test_without_a_key_every_request_is_a_job(site: Any) -> None:
    assert site.create()["id"] != site.create()["id"]


def test_twenty_at_once_make_one_job(site: Any) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(post(site, "race"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]


def by_library(site: Any, count: str, **fields: Any) -> Any:
    body = {"prompt": "x", **fields}
    return site.client.post("/videos", json=body, headers={"x-stainless-retry-count": count})


def test_a_library_that_repeats_without_a_key_gets_its_first_job(site: Any) -> None:
    first = by_library(site, "0")
    again = by_library(site, "1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"] == by_library(site, "2").json()["id"]
    other = by_library(site, "1", seed=1)
    assert (other.status_code, other.json()["id"] != first.json()["id"]) == (202, True)
    kept = site.redis.keys("{mc}:recent:*")
    assert len(kept) == 2
    assert all(0 < site.redis.ttl(key) <= 60 for key in kept)


def test_a_repeat_after_a_minute_or_a_delete_is_a_new_job(site: Any) -> None:
    first = by_library(site, "0").json()["id"]
    for key in site.redis.keys("{mc}:recent:*"):
        site.redis.delete(key)  # as if a minute had passed
    second = by_library(site, "1")
    assert (second.status_code, second.json()["id"] != first) == (202, True)
    site.client.delete(f"/videos/{second.json()['id']}")
    assert by_library(site, "1").status_code == 202


def test_equal_wishes_that_were_refused_are_not_taken_for_one(site: Any, start_gateway: Any) -> None:
    small = start_gateway(queue_limit=1)
    assert [by_library(small, "0").status_code for _ in range(3)] == [202, 429, 429]
    made = []
    for _ in range(2):
        site.worker.render()
        made.append(by_library(small, "1"))
    assert [answer.status_code for answer in made] == [202, 202]
    lost = by_library(small, "1")  # nothing was refused that is still owed: this answer was lost
    assert (lost.status_code, lost.json()["id"]) == (200, made[1].json()["id"])


def test_two_wishes_of_a_library_are_two_jobs(site: Any) -> None:
    assert by_library(site, "0").json()["id"] != by_library(site, "0").json()["id"]
    assert by_library(site, "many").status_code == 202
    assert site.create()["id"] != site.create()["id"]  # who does not count is not guessed at


def test_a_repeated_upload_leaves_one_picture(site: Any, png: Any) -> None:
    for count in "01":
        site.client.post(
            "/videos",
            data={"prompt": "x"},
            files={"input_reference": ("a.png", png())},
            headers={"x-stainless-retry-count": count},
        )
    assert len(list(site.artifacts.list(""))) == 1


def test_deleting_a_job_frees_its_key(site: Any) -> None:
    video_id = post(site, "k").json()["id"]
    site.client.delete(f"/videos/{video_id}")
    again = post(site, "k", seed=1)
    assert again.status_code == 202
    assert again.json()["id"] != video_id


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "\u00e9"])
def test_a_key_that_cannot_be_kept_is_named(site: Any, key: str) -> None:
    answer = site.client.post(
        "/videos", json={"prompt": "x"}, headers={"idempotency-key": key.encode("latin-1")}
    )
    assert site.problem(422, answer)["errors"][0]["field"] == "Idempotency-Key"


@pytest.fixture
def proxy(redis_url: str) -> Iterator[LossyProxy]:
    address = urlsplit(redis_url)
    proxy = LossyProxy((str(address.hostname), int(address.port or 0)))
    yield proxy
    proxy.close()


def test_a_lost_answer_to_submit_is_asked_again_and_makes_one_job(
    start_gateway: Any, site: Any, proxy: LossyProxy
) -> None:
    behind = start_gateway(gateway_redis=f"redis://127.0.0.1:{proxy.port}/0")
    behind.create()  # the script is on the server now, so that the next submit is one EVALSHA
    proxy.lose_answer_to(Library().script("submit").sha1.encode())
    video = behind.create(seed=7)
    assert proxy.lost == 1
    listed = [each["id"] for each in behind.client.get("/videos").json()["data"]]
    assert listed.count(video["id"]) == 1
    assert len(listed) == 2
    events = [event.type for event in site.jobs.events("default", video["id"])]
    assert events == ["video.queued"]
