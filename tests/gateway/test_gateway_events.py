"""`/videos/{id}/events`: no gap, no duplicate, an end; and what a stream may cost."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from rig.processes import wait_until
from rig.tcp_proxy import LossyProxy

from service.contracts.lifecycle import Stage
from service.store.api_keys import KeyStore
from service.store.nouns import Note
from service.store.script import Store

Said = dict[str, Any]


def read(lines: Iterator[str]) -> Iterator[Said]:
    """Server-sent events as a browser reads them; of comments, that there was one."""
    event: Said = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            yield {"event": "comment"}
        elif not line and "data" in event:
            yield event
            event = {}
        elif name in ("id", "event"):
            event[name] = value
        elif name == "data":
            event["data"] = json.loads(value)


@contextmanager
def listening(site: Any, path: str, **headers: str) -> Iterator[Iterator[Said]]:
    with site.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        yield read(answer.iter_lines())


def whole(site: Any, path: str, last: str | None = None, **headers: str) -> list[Said]:
    """Everything until the stream ends by itself."""
    if last is not None:
        headers["last-event-id"] = last
    with listening(site, path, **headers) as said:
        return [event for event in said if event["event"] != "comment"]


def path_of(video: Said) -> str:
    return f"/videos/{video['id']}/events"


def seqs(said: list[Said]) -> list[int]:
    return [int(event["id"].rpartition("_")[2]) for event in said]


def note(site: Any, claim: Any, step: int) -> None:
    assert site.jobs.note(claim.job.id, claim.attempt, Note(Stage.IMAGE_TO_VIDEO, step, 500, step // 6))


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_listener_hears_the_whole_story_and_its_end(site: Any, prefix: str) -> None:
    video = site.create()
    heard: list[Said] = []
    with listening(site, prefix + path_of(video)) as said:
        heard.append(next(said))
        assert heard[0]["event"] == "video.queued"
        site.worker.render()  # only now: what follows came while we listened
        heard += said
    kept = site.jobs.events("default", video["id"])
    assert [event["id"] for event in heard] == [event.id for event in kept]
    assert [event["data"]["data"] for event in heard] == [event.data for event in kept]
    assert heard[-1]["event"] == "video.completed"
    assert {"video.started", "video.progress"} <= {event["event"] for event in heard}
    progress = next(event for event in heard if event["event"] == "video.progress")
    assert progress["data"]["data"]["stage"] == "image_to_video"
    assert progress["data"]["data"]["step"] == 3


def test_every_place_to_come_back_to_gives_exactly_the_rest(site: Any) -> None:
    video = site.create()
    site.worker.render()
    everything = whole(site, path_of(video))
    assert seqs(everything) == list(range(1, len(everything) + 1))
    for index, event in enumerate(everything[:-1]):
        assert whole(site, path_of(video), event["id"]) == everything[index + 1 :]
    over = site.client.get(path_of(video), headers={"last-event-id": everything[-1]["id"]})
    assert (over.status_code, over.content) == (204, b"")


def test_coming_and_going_while_events_come_loses_and_doubles_none(site: Any) -> None:
    """Clients that leave after each event, against a worker that writes as fast as it can."""
    video, claim = site.create(), site.worker.claim()

    def work() -> None:
        for step in range(1, 120):
            note(site, claim, step)
        site.worker.finish(claim, site.worker.film(claim))

    def hop(stride: int) -> list[Said]:
        heard: list[Said] = []
        while not heard or heard[-1]["event"] != "video.completed":
            last = {"last-event-id": heard[-1]["id"]} if heard else {}
            with listening(site, path_of(video), **last) as said:
                heard += [event for _, event in zip(range(stride), said, strict=False)]
        return heard

    with ThreadPoolExecutor(4) as pool:
        hoppers = [pool.submit(hop, stride) for stride in (3, 7, 11)]
        pool.submit(work).result(60)
        for hopper in hoppers:
            assert seqs(hopper.result(60)) == list(range(1, 123))


@pytest.mark.parametrize("last", ["evt_another_1", "evt_{id}_999", "evt_{id}_x", "7", "", "evt_{id}_-1"])
def test_an_id_that_is_not_of_this_story_gives_the_job_as_it_stands(site: Any, last: str) -> None:
    video = site.create()
    with listening(site, path_of(video), **{"last-event-id": last.format(id=video["id"])}) as said:
        first = next(said)
        assert (first["event"], first["id"]) == ("reset", f"evt_{video['id']}_1")
        assert first["data"]["id"] == video["id"]
        assert first["data"]["state"] == "queued"
        site.worker.render()
        assert seqs([first, *said]) == [1, 2, 3, 4]


def test_a_log_that_does_not_reach_back_gives_the_job_as_it_stands(site: Any) -> None:
    video, claim = site.create(), site.worker.claim()
    for step in range(1, 500):
        note(site, claim, step)
    site.worker.finish(claim, site.worker.film(claim))
    kept = site.jobs.events("default", video["id"], 0, 1000)
    assert 200 <= len(kept) < 400
    for last in (None, f"evt_{video['id']}_{kept[0].seq - 2}"):
        (reset,) = whole(site, path_of(video), last)
        assert (reset["event"], seqs([reset])) == ("reset", [502])
        assert reset["data"]["status"] == "completed"
        assert reset["data"]["urls"]["video_link"]
    # The event before the first that is kept is the last place from which nothing is lost.
    rest = whole(site, path_of(video), f"evt_{video['id']}_{kept[0].seq - 1}")
    assert seqs(rest) == [event.seq for event in kept]


def test_silence_is_broken_by_comments(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(heartbeat_s=0.05)
    site.worker.announce()
    with listening(site, path_of(site.create())) as said:
        assert [next(said)["event"] for _ in range(4)] == ["video.queued", *["comment"] * 3]


def test_all_listeners_share_one_reading_connection(site: Any) -> None:
    videos = [site.create() for _ in range(6)]
    site.client.get("/videos")

    def readers() -> int:
        return sum(
            "cmd=xread" in line for line in site.redis.execute_command("CLIENT", "LIST").decode().splitlines()
        )

    with ThreadPoolExecutor(18) as pool:
        heard = [pool.submit(whole, site, path_of(video)) for video in videos * 3]
        wait_until(lambda: site.parts.broadcast.listeners == 18, 30, "all listen")
        wait_until(lambda: readers() == 1, 30, "one of the connections is the reader's")
        for _ in videos:
            site.worker.render()
        assert [seqs(each.result(30)) for each in heard] == [[1, 2, 3, 4]] * 18
    wait_until(lambda: site.parts.broadcast.listeners == 0, 30, "all have left")


def test_listeners_are_counted_and_take_no_place_of_others(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(listeners=3, listeners_per_owner=2, max_concurrent_requests=2)
    site.worker.announce()
    path = path_of(site.create())
    with listening(site, path) as first, listening(site, path) as second:
        next(first), next(second)
        refused = site.client.get(path)
        assert site.problem(429, refused)["code"] == "too_many_listeners"
        assert int(refused.headers["retry-after"]) > 0
        assert site.client.get("/videos").status_code == 200
    wait_until(lambda: site.parts.broadcast.listeners == 0, 30, "they have left")
    with listening(site, path) as said:
        next(said)


def test_nothing_is_heard_of_what_is_not_there(site: Any) -> None:
    assert site.problem(404, site.client.get("/videos/video_1/events"))["code"] == "unknown_video"
    video = site.create()
    assert site.client.delete(f"/videos/{video['id']}").status_code == 200
    assert site.problem(404, site.client.get(path_of(video)))["code"] == "unknown_video"
    assert site.problem(404, site.client.get(video_link(site, video)))["code"] == "unknown_video"


def video_link(site: Any, video: Said) -> str:
    link: str = site.parts.link_signer.events_link(video["id"], 60)
    return link.removeprefix(site.parts.link_signer.public_base_url)


def test_a_look_at_the_head_opens_no_stream(site: Any) -> None:
    head = site.client.head(path_of(site.create()))
    assert (head.status_code, head.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    assert site.parts.broadcast.listeners == 0


def test_others_hear_nothing_and_a_signed_link_needs_no_key(empty_record: None, start_gateway: Any) -> None:
    site = start_gateway(require_keys=True)
    site.worker.announce()
    keys = KeyStore(Store(site.redis))
    mine, others = ({"authorization": f"Bearer {keys.create(owner, {'read', 'write'})[1]}"} for owner in "ab")
    video = site.client.post("/videos", json={"prompt": "x"}, headers=mine).json()
    path = path_of(video)
    assert site.client.get(path).status_code == 401
    assert site.problem(404, site.client.get(path, headers=others))["code"] == "unknown_video"
    site.worker.render()
    everything = whole(site, path, **mine)
    link = site.client.get(f"/videos/{video['id']}", headers=mine).json()["urls"]["events_link"]
    link = link.removeprefix(site.parts.link_signer.public_base_url)
    assert whole(site, link) == everything
    for forged in (link[:-1] + ("0" if link[-1] != "0" else "1"), link.replace(video["id"], "video_1")):
        assert site.problem(403, site.client.get(forged))["code"] == "bad_signature"
    late = site.parts.link_signer.events_link(video["id"], -1).removeprefix(
        site.parts.link_signer.public_base_url
    )
    assert site.problem(403, site.client.get(late))["code"] == "bad_signature"
    # A link to events opens no file, and a link to a file no events.
    assert site.client.get(link.replace("/events/", "/artifacts/events/")).status_code == 403
    assert site.client.get(link.replace("/events/", "/artifacts///events/")).status_code == 404


def test_a_gateway_that_stops_ends_its_streams_at_once(site: Any) -> None:
    ended = threading.Event()
    began = threading.Event()

    def listen() -> None:
        with listening(site, path_of(video)) as said:
            for _ in said:
                began.set()
        ended.set()

    video = site.create()
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert began.wait(30)
    site.stop()
    assert ended.wait(15), "uvicorn cuts what is left after 20 s: the stream has to end before"


def test_streams_outlive_an_outage_of_the_record_and_go_on_without_gap(
    empty_record: None, start_gateway: Any, redis_url: str
) -> None:
    """While the record is away the stream stays open (a browser would give up on a 503); then it ends, and
    whoever comes back hears what happened meanwhile."""
    server = urlsplit(redis_url)
    proxy = LossyProxy((server.hostname or "", server.port or 0))
    site = start_gateway(gateway_redis=f"redis://127.0.0.1:{proxy.port}/0", heartbeat_s=0.2)
    site.worker.announce()
    video = site.create()
    with listening(site, path_of(video)) as said:
        queued = next(said)
        wait_until(lambda: b"cmd=xread" in site.redis.execute_command("CLIENT", "LIST"), 30, "reads")
        proxy.refusing = True
        proxy.cut()
        site.worker.render()
        assert [next(said)["event"] for _ in range(4)] == ["comment"] * 4
        proxy.refusing = False
        assert all(event["event"] == "comment" for event in said)
    assert seqs(whole(site, path_of(video), queued["id"])) == [2, 3, 4]


def test_a_long_stream_is_no_slow_request(empty_record: None, start_gateway: Any) -> None:
    """How long it took is the time until it began: a stream lasts as long as its job waits."""
    site = start_gateway(heartbeat_s=1)
    site.worker.announce()
    video = site.create()
    with listening(site, path_of(video)) as said:
        heard = [next(said)["event"] for _ in range(3)]
    assert heard.count("comment") >= 2, "it was open for a second at least"
    name = 'microcinema_http_request_duration_seconds_sum{method="GET",route="/videos/{video_id}/events"'

    def took() -> list[float]:
        text = site.client.get("/metrics").text
        return [float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)]

    wait_until(lambda: bool(took()), 20, "the stream has ended")
    assert sum(took()) < 1
