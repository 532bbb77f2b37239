"""From POST to a decoded MP4 and a verified webhook, and what happens when parts die on the way."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import av
import pytest
from rig.processes import wait_until
from rig.receiver import Receiver
from rig.tcp_proxy import LossyProxy
from standardwebhooks import Webhook

from models.cinema import MICRO_WEIGHTS, frame_digest
from service.store.script import Library

StartService = Callable[..., Any]

#: Of a worker that a test kills: its job is waited for. Elsewhere the usual lease outlasts every stall of a
#: busy machine, so that one attempt is all that an undisturbed job takes.
SHORT_LEASE = {"MICROCINEMA_LEASE_S": "5", "MICROCINEMA_BEAT_S": "0.5"}


def decoded(mp4: bytes) -> tuple[int, float, tuple[int, int]]:
    """Frames, fps and size of an H.264 MP4."""
    with av.open(io.BytesIO(mp4)) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = list(film.decode(stream))
        return len(frames), float(stream.average_rate or 0), (frames[0].width, frames[0].height)


def terminal(events: list[Any]) -> list[str]:
    ends = {"video.completed", "video.failed", "video.cancelled"}
    return [event.type for event in events if event.type in ends]


@pytest.mark.timeout(180)
def test_prompt_becomes_a_video_and_a_signed_webhook(start_service: StartService) -> None:
    service = start_service(by_command=True, MICROCINEMA_WEIGHTS=str(MICRO_WEIGHTS))
    service.worker()
    with Receiver() as receiver:
        posted = service.create(
            prompt="a red circle moving left on a white background",
            num_inference_steps=6,
            webhook_url=receiver.url,
            metadata={"order": "42"},
        )
        assert posted["status"] == "queued"
        video = service.wait_for(posted["id"], "succeeded", "failed", seconds=120)
        assert video["status"] == "completed", video
        assert video["progress"] == 100
        assert video["seed"] == 7
        assert video["metadata"] == {"order": "42"}
        with service.client() as client:
            content = client.get(f"/videos/{video['id']}/content")
            assert content.headers["content-type"] == "video/mp4"
            assert decoded(content.content) == (16, 8.0, (64, 64))
            part = client.get(f"/videos/{video['id']}/content", headers={"range": "bytes=4-7"})
            assert (part.status_code, part.content) == (206, b"ftyp")
            keyframe = client.get(f"/videos/{video['id']}/content", params={"variant": "image"})
            assert keyframe.content.startswith(b"\x89PNG")

        def completed() -> list[Any]:
            bodies = [(r, json.loads(r.body)) for r in list(receiver.received)]
            return [(r, body) for r, body in bodies if body["type"] == "video.completed"]

        wait_until(lambda: bool(completed()), 60, "the completed webhook")
        received, body = completed()[0]
        Webhook(service.environment["MICROCINEMA_WEBHOOK_SECRET"]).verify(received.body, received.headers)
        assert body["data"]["id"] == video["id"]
        assert len({r.headers["webhook-id"] for r, _ in completed()}) == 1
    assert terminal(service.events(video["id"])) == ["video.completed"]


@pytest.mark.timeout(180)
def test_killed_worker_costs_an_attempt_and_nothing_else(start_service: StartService) -> None:
    service = start_service(MICROCINEMA_WEIGHTS=str(MICRO_WEIGHTS), **SHORT_LEASE)
    first = service.worker("worker-1")
    with Receiver() as receiver:
        check_kill(service, first, receiver)


def check_kill(service: Any, first: Any, receiver: Receiver) -> None:
    video = service.create(num_inference_steps=30, webhook_url=receiver.url)

    def mid_run() -> bool:
        return any(
            event.type == "video.progress"
            and event.data.get("stage") == "image_to_video"
            and 3 <= int(event.data["step"]) < int(event.data["steps"])
            for event in service.events(video["id"])
        )

    wait_until(mid_run, 60, "a step between 3 and the last")
    first.kill()
    assert service.video(video["id"])["state"] == "running"  # nobody knows yet
    service.worker("worker-2")
    done = service.wait_for(video["id"], "succeeded", "failed", seconds=90)
    assert done["state"] == "succeeded"
    assert done["attempts"] == 2
    assert [key for key in service.objects(video["id"]) if key.endswith(".mp4")] == [
        f"default/{video['id']}/2/video.mp4"
    ]
    assert terminal(service.events(video["id"])) == ["video.completed"]
    steps = [
        event.data["progress"] for event in service.events(video["id"]) if event.type == "video.progress"
    ]
    assert steps == sorted(steps), "the second attempt goes on where the first was"
    assert max(steps) <= 99
    assert len(set(steps)) >= 10, "more than beginnings and ends of stages"

    def told() -> list[str]:
        return [json.loads(r.body)["type"] for r in list(receiver.received)]

    wait_until(lambda: "video.completed" in told(), 60, "the completed webhook")
    time.sleep(1.0)  # long enough for a second one to have come
    assert told().count("video.completed") == 1


@pytest.mark.timeout(120)
def test_cancel_in_mid_run_stops_the_work(start_service: StartService) -> None:
    service = start_service(MICROCINEMA_WEIGHTS=str(MICRO_WEIGHTS))
    service.worker()
    video = service.create(num_inference_steps=50)
    wait_until(lambda: service.video(video["id"])["stage"] == "image_to_video", 60, "stage 2 runs")
    with service.client() as client:
        assert client.post(f"/videos/{video['id']}/cancel").status_code == 200
    done = service.wait_for(video["id"], "cancelled", "succeeded", seconds=45)
    assert (done["state"], done["status"], done["error"]["code"]) == ("cancelled", "failed", "cancelled")
    assert terminal(service.events(video["id"])) == ["video.cancelled"]
    assert done["step"] < done["steps"] == 50
    assert not [key for key in service.objects(video["id"]) if key.endswith(".mp4")]
    after = service.create(num_inference_steps=4)
    assert service.wait_for(after["id"], "succeeded", "failed")["state"] == "succeeded"


@pytest.mark.timeout(120)
def test_sigterm_drains(start_service: StartService) -> None:
    service = start_service(by_command=True, MICROCINEMA_WEIGHTS=str(MICRO_WEIGHTS))
    worker = service.worker()
    running = service.create(num_inference_steps=20)
    waiting = service.create(num_inference_steps=4)
    service.wait_for(running["id"], "running")
    worker.terminate()
    assert worker.wait(60) == 0
    assert service.video(running["id"])["state"] == "succeeded"
    assert service.video(waiting["id"])["state"] == "queued"
    service.worker("next")
    assert service.wait_for(waiting["id"], "succeeded")["attempts"] == 1


@pytest.mark.timeout(120)
def test_two_workers_share_the_queue_and_do_nothing_twice(start_service: StartService) -> None:
    service = start_service()
    for name in ("one", "two"):
        service.worker(name)
    videos = [service.create(prompt=f"number {n}", seed=n)["id"] for n in range(12)]
    done = [service.wait_for(video, "succeeded", "failed") for video in videos]
    assert {each["state"] for each in done} == {"succeeded"}
    assert {each["attempts"] for each in done} == {1}
    for video in videos:
        assert terminal(service.events(video)) == ["video.completed"]
        assert len([key for key in service.objects(video) if key.endswith(".mp4")]) == 1


@pytest.mark.timeout(120)
def test_lost_answer_to_submit_makes_one_job(start_service: StartService) -> None:
    with ExitStack() as open_proxies:
        proxies: list[LossyProxy] = []

        def through_proxy(url: str) -> str:
            proxies.append(open_proxies.enter_context(LossyProxy(address(url))))
            return f"redis://127.0.0.1:{proxies[0].port}/0"

        service = start_service(gateway_redis=through_proxy)
        service.worker()
        proxies[0].lose_answer_to(Library().script("submit").sha1.encode())
        with service.client() as client:
            body = {"prompt": "only once", "seed": 1}
            answer = client.post("/videos", json=body, headers={"idempotency-key": "once"})
            if answer.status_code == 503:  # allowed: the client comes again with its key
                answer = client.post("/videos", json=body, headers={"idempotency-key": "once"})
            assert answer.status_code in (200, 202), answer.text
            assert proxies[0].lost == 1
            listed = client.get("/videos").json()["data"]
        assert [each["id"] for each in listed] == [answer.json()["id"]]
        assert service.wait_for(answer.json()["id"], "succeeded")["attempts"] == 1


def address(redis_url: str) -> tuple[str, int]:
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    return host, int(port)


@pytest.mark.timeout(120)
def test_lost_answer_to_finish_keeps_the_video(start_service: StartService) -> None:
    service = start_service()
    with LossyProxy(address(service.redis_url)) as proxy:
        service.worker(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
        proxy.lose_answer_to(Library().script("finish").sha1.encode())
        video = service.create()
        done = service.wait_for(video["id"], "succeeded", "failed")
        wait_until(lambda: proxy.lost == 1, 30, "the answer to finish was lost")
        time.sleep(1.0)  # long enough for a wrong clean-up to have happened
        assert done["state"] == "succeeded"
        assert done["attempts"] == 1
        assert terminal(service.events(video["id"])) == ["video.completed"]
        with service.client() as client:
            content = client.get(f"/videos/{video['id']}/content").content
        assert decoded(content)[0] == done["num_frames"]
        again = service.create(seed=8)
        assert service.wait_for(again["id"], "succeeded", "failed")["state"] == "succeeded"


@pytest.mark.timeout(120)
def test_same_seed_gives_the_same_frames_through_the_whole_service(start_service: StartService) -> None:
    service = start_service()
    service.worker()
    ids = [service.create(seed=seed)["id"] for seed in (5, 5, 6)]
    for each in ids:
        service.wait_for(each, "succeeded")
    records = [service.store().get("default", each) for each in ids]
    digests = [record.artifact.frame_digest for record in records]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == len(frame_digest([]))


def test_redis_away_is_503_and_back_is_well(start_service: StartService) -> None:
    from rig.valkey import valkey

    service = start_service()
    service.worker()
    port = int(service.redis_url.rsplit(":", 1)[1].split("/")[0])
    with redis_of(service) as connection:
        connection.shutdown(nosave=True)
    with service.client() as client:
        started = time.monotonic()
        answer = client.post("/videos", json={"prompt": "nobody home"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert time.monotonic() - started < 20
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        again = valkey(service.folder / "valkey", port).start()
        service.running.append(again)
        wait_until(lambda: client.get("/readyz").status_code == 200, 60, "ready again")
    assert service.wait_for(service.create()["id"], "succeeded", "failed")["state"] == "succeeded"


def redis_of(service: Any) -> Any:
    import redis

    return redis.Redis.from_url(service.redis_url, retry=None)


def test_receiver_that_fails_first_gets_it_again(start_service: StartService) -> None:
    service = start_service()
    service.worker()
    with Receiver(statuses=[500, 200]) as receiver:
        video = service.create(webhook_url=receiver.url)
        service.wait_for(video["id"], "succeeded")

        def delivered_twice() -> bool:
            ids = [r.headers["webhook-id"] for r in list(receiver.received)]
            return any(ids.count(each) >= 2 for each in ids)

        wait_until(delivered_twice, 80, "a second try of the refused delivery")
