"""`microcinema` against a real gateway: films made, made over, gone on with; logs and endpoints as lines."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rig.picture_host import gives, picture_host
from rig.processes import wait_until

from service.cli.main import main
from service.client import Client
from service.store.deliveries import DeliveryStore, Settlement, Verdict
from service.store.script import Store

Run = Callable[..., list[str]]


@pytest.fixture
def host(png: Any) -> Iterator[Any]:
    with picture_host() as host:
        host.paths["/a.png"] = gives(png())
        yield host


@pytest.fixture
def site(empty_record: None, start_gateway: Any, make_spec: Any, host: Any) -> Any:
    site = start_gateway(picture_origins=host.url)
    site.worker.announce(make_spec(keyframe="first"))
    return site


@pytest.fixture
def run(site: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(*words)`: the lines that a command prints; it must have gone well."""

    def run(*words: str) -> list[str]:
        capsys.readouterr()
        ended, said = main([*words, "--url", site.url]), capsys.readouterr()
        assert ended == 0, said.err
        return said.out.splitlines()

    return run


@contextmanager
def rendering(site: Any, **of_receipt: Any) -> Iterator[None]:
    """A worker that makes the next video while the block asks for it."""

    def next_one() -> bool:
        try:
            site.worker.render(**of_receipt)
        except ValueError:  # nothing to claim yet
            return False
        return True

    thread = threading.Thread(target=wait_until, args=(next_one, 60, "a video was asked for"))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_film_is_made_made_over_and_gone_on_with(
    site: Any, run: Run, host: Any, png: Any, tmp_path: Path
) -> None:
    own = tmp_path / "own.png"
    own.write_bytes(png())
    for number, words in enumerate(
        (
            ["generate", "a red circle", "--seed", "7"],
            ["generate", "a red circle", "--picture", str(own)],
            ["generate", "a red circle", "--picture", f"{host.url}/a.png", "--fit", "cover"],
        )
    ):
        path = tmp_path / f"{number}.mp4"
        with rendering(site):
            assert run(*words, "-o", str(path)) == [str(path)]
        assert path.read_bytes()[4:8] == b"ftyp"
    first = site.client.get("/videos", params={"order": "asc"}).json()["data"]
    assert [one["keyframe"]["sha256"] == first[1]["keyframe"]["sha256"] for one in first[1:]] == [True, True]
    made = first[0]["id"]
    for words, link in (
        (["remix", made, "a blue square", "--keep-keyframe"], "remixed_from_video_id"),
        (["extend", made, "it turns around", "--num-frames", "8"], "extended_from_video_id"),
    ):
        with rendering(site):
            run(*words, "-o", str(tmp_path / "next.mp4"))
        assert site.client.get("/videos", params={"limit": 1}).json()["data"][0][link] == made


def test_a_repetition_is_told_in_a_line_and_by_the_exit_status(
    site: Any, run: Run, capsys: Any, tmp_path: Path
) -> None:
    made = site.create()["id"]
    site.worker.render()
    with rendering(site):
        (line,) = run("reproduce", made, "-o", str(tmp_path / "again.mp4"))
    assert line.split("  ")[1] == "equal"
    assert (tmp_path / "again.mp4").read_bytes()[4:8] == b"ftyp"
    with rendering(site, frame_digest="a" * 64):
        assert main(["reproduce", made, "--url", site.url]) == 1
    assert capsys.readouterr().out.endswith("  different: 40.5 dB apart; changed since: batch\n")


def test_the_bar_follows_the_stream_and_looks_where_too_many_listen(
    empty_record: None, start_gateway: Any, tmp_path: Path, capsys: Any
) -> None:
    site = start_gateway(listeners_per_owner=1)
    site.worker.announce()

    def generated() -> tuple[float, str]:
        """How often the video was looked at, and the bar."""
        before, _ = looks(site), capsys.readouterr()
        with rendering(site):
            assert main(["generate", "a", "-o", str(tmp_path / "a.mp4"), "--url", site.url]) == 0
        return looks(site) - before, capsys.readouterr().err

    seen, bar = generated()
    assert seen == 1, "once, behind the end"
    assert "40 %  image_to_video" in bar
    assert "100 %" in bar
    waiting = site.create(pause_after="image", candidates=1)["id"]
    site.worker.offer()
    with Client(site.url) as client, closing(client.events(waiting)) as only:
        next(only)
        _, bar = generated()
        assert site.parts.broadcast.listeners == 1
    assert "100 %" in bar


def looks(site: Any) -> float:
    text = site.client.get("/metrics").text
    name = r'^microcinema_http_request_duration_seconds_count{method="GET",route="/videos/{video_id}"} (\S+)'
    return sum(float(count) for count in re.findall(name, text, re.MULTILINE))


def test_logs_tell_of_tries_and_of_who_was_told_in_order(site: Any, run: Run) -> None:
    video = site.create(webhook_url="https://example.com/hook")["id"]
    assert run("logs", video)[-1].split() == ["now", "queued,", "0", "%"]
    site.worker.render()
    deliveries = DeliveryStore(Store(site.redis))
    deliveries.relay()
    for each in deliveries.take(100, 60.0, 100, {}):
        deliveries.settle(each.id, each.tries, Settlement(Verdict.RETRY, "HTTP 500: no", 500), 1000.0)
    lines = [line[22:] for line in run("logs", video)]
    assert lines[0].startswith("accepted    micro, 64x64, seed ")
    assert "attempt 1   begun by gpu-1" in lines
    assert "attempt 1   ended: succeeded" in lines
    assert any("video.completed to https://example.com: try 1 retry: HTTP 500: no" in line for line in lines)
    assert "succeeded" in lines


def test_a_film_is_ordered_with_the_events_that_its_webhook_hears_of(
    site: Any, run: Run, capsys: Any, tmp_path: Path, png: Any
) -> None:
    own = tmp_path / "own.png"
    own.write_bytes(png())
    told = ("--webhook-url", "https://example.com/hook", "--webhook-event", "video.completed")
    for more in ((), ("--picture", str(own))):  # JSON, and a form
        with rendering(site):
            run(
                *("generate", "a", *told, "--webhook-event", "video.failed"),
                *("-o", str(tmp_path / "a.mp4"), *more),
            )
        (newest,) = site.client.get("/videos", params={"limit": 1}).json()["data"]
        assert newest["webhook_events"] == ["video.completed", "video.failed"]
    assert main(["generate", "a", *told[:2], "--webhook-event", "video.over", "--url", site.url]) == 1
    assert "webhook_events must be a list of some of" in capsys.readouterr().err
    assert main(["generate", "a", *told[2:], "--url", site.url]) == 1
    assert "webhook_events must be left out without webhook_url" in capsys.readouterr().err


def test_an_endpoint_is_made_listed_pinged_rotated_and_deleted(site: Any, run: Run) -> None:
    made = run("endpoints", "create", "https://example.com/hook", "--event", "video.failed")
    assert made[0].startswith("whsec_")
    ((line),) = run("endpoints", "list")
    endpoint, *rest = line.split()
    assert rest == ["enabled", "https://example.com/hook", "video.failed"]
    assert run("endpoints", "rotate", endpoint, "--overlap-s", "60") != made
    assert run("endpoints", "test", endpoint)[0].endswith("is on its way to https://example.com")
    assert run("endpoints", "delete", endpoint) == [f"{endpoint} is deleted"]
    assert run("endpoints", "list") == []


def test_a_refusal_of_the_gateway_is_one_sentence_with_the_bound(site: Any, capsys: Any) -> None:
    assert main(["generate", "a red circle", "--fps", "99", "--url", site.url]) == 1
    assert "fps must be 1 to 30, got 99" in capsys.readouterr().err
