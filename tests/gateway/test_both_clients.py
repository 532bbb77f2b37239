"""The waiting and the asynchronous client against a real gateway: every call, and downloads that are cut."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.picture_host import gives, picture_host
from rig.tcp_proxy import LossyProxy

from service.client import (
    AsyncClient,
    Client,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Unintelligible,
    Unreachable,
)
from service.client import asking as core
from service.contracts.model_spec import ModelSpec
from service.store.deliveries import DeliveryStore
from service.store.script import Store

Ask = Callable[..., Any]


def public(client: type) -> set[str]:
    return {name for name in vars(client) if not name.startswith("_")} - {"close", "aclose", "run", "follow"}


def test_both_clients_have_the_same_calls_with_the_same_words():
    assert public(Client) == public(AsyncClient)
    for name in public(Client) - {"readiness"}:
        one, other = vars(Client)[name], vars(AsyncClient)[name]
        assert one.__doc__ == other.__doc__
        assert one.__doc__


@pytest.fixture(params=["waiting", "asynchronous"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """`ask(url, name, *arguments)`: one call by a client of its own; a list comes back whole."""

    def waiting(url: str, name: str, *args: Any, **kwargs: Any) -> Any:
        with Client(url, patience_s=20) as client:
            told = getattr(client, name)(*args, **kwargs)
            return list(told) if inspect.isgenerator(told) else told

    def asynchronous(url: str, name: str, *args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            async with AsyncClient(url, patience_s=20) as client:
                told = getattr(client, name)(*args, **kwargs)
                return [each async for each in told] if inspect.isasyncgen(told) else await told

        return asyncio.run(run())

    return waiting if request.param == "waiting" else asynchronous


@pytest.fixture
def site(empty_record: None, start_gateway: Any, make_spec: Callable[..., ModelSpec]) -> Any:
    """A gateway whose model can do all that can be asked."""
    site = start_gateway()
    site.worker.announce(make_spec(keyframe="first"))
    return site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For downloads alone."""
    made = tmp_path / "mine"
    made.mkdir()
    return made


def test_a_video_from_estimate_to_deletion(site: Any, ask: Ask, folder: Path):
    assert ask(site.url, "estimate", "a red circle", num_frames=8).num_frames == 8
    made = ask(site.url, "create", "a red circle", seed=7, metadata={"order": "4711"})
    other = ask(site.url, "create", "a blue square")
    assert (made.seed, made.metadata, made.queue.ahead) == (7, {"order": "4711"}, 0)
    assert [one.id for one in ask(site.url, "list_videos", limit=1)] == [other.id, made.id]
    assert [one.id for one in ask(site.url, "list_videos", metadata={"order": "4711"})] == [made.id]
    assert ask(site.url, "cancel", other.id).state == "cancelled"
    site.worker.render()
    seen = []
    ended = ask(site.url, "wait", made.id, on_progress=seen.append).raise_for_failure()
    assert seen == [ended]
    assert (ended.attempt_log[0].worker, ended.attempt_log[0].outcome) == ("gpu-1", "succeeded")
    for variant in ("video", "thumbnail", "spritesheet", "image"):
        ask(site.url, "download", made.id, folder / variant, variant=variant)
    served = site.client.get(f"/videos/{made.id}/content").content
    assert (folder / "video").read_bytes() == served
    assert len(list(folder.iterdir())) == 4  # no part was left
    remixed = ask(site.url, "remix", made.id, "a blue square", keep_keyframe=True)
    assert (remixed.remixed_from_video_id, remixed.seed) == (made.id, 7)
    extended = ask(site.url, "extend", made.id, "it turns", num_frames=8)
    assert (extended.extended_from_video_id, extended.num_frames) == (made.id, 16 + 8 - 1)
    repeated = ask(site.url, "reproduce", made.id, metadata={"why": "to see"})
    assert (repeated.reproduces_video_id, repeated.seed, repeated.metadata) == (made.id, 7, {"why": "to see"})
    assert ask(site.url, "receipt", made.id) == ended.receipt
    ask(site.url, "delete", made.id)
    with pytest.raises(NotFound):
        ask(site.url, "get", made.id)
    (model,) = ask(site.url, "models")
    assert (model.id, model.live_workers) == ("micro", 1)
    assert ask(site.url, "readiness")[0]


def test_a_keyframe_is_chosen_by_number_by_file_or_by_url(
    empty_record: None, start_gateway: Any, ask: Ask, png: Any, folder: Path
):
    own = folder / "own.png"
    own.write_bytes(png())
    with picture_host() as host:
        host.paths["/a.png"] = gives(png())
        site = start_gateway(picture_origins=host.url)
        site.worker.announce()
        for choice in ({"candidate": 1}, {"picture": own}, {"picture": f"{host.url}/a.png"}):
            made = ask(site.url, "create", "a red circle", pause_after="image", candidates=2)
            site.worker.offer()
            held = ask(site.url, "wait", made.id)
            assert (held.awaits_approval, len(held.gate.candidates)) == (True, 2)
            ask(site.url, "download", made.id, folder / "one.png", variant="image", candidate=1)
            approved = ask(site.url, "approve", made.id, **choice)
            assert (approved.gate.approved, approved.gate.chosen) == (True, choice.get("candidate"))
            site.worker.finish(claim := site.worker.claim(), site.worker.film(claim))
        animated = ask(site.url, "create", "a red circle", picture=f"{host.url}/a.png", fit="cover")
        assert (animated.model_dump()["fit"], animated.state) == ("cover", "queued")


def test_an_endpoint_from_its_secret_to_its_deletion(site: Any, ask: Ask):
    made = ask(site.url, "create_endpoint", "https://example.com/hook", events=["video.failed"])
    assert made.secret.startswith("whsec_")
    assert ask(site.url, "rotate_endpoint", made.id, overlap_s=60).secret not in (None, made.secret)
    assert ask(site.url, "endpoint", made.id).secret is None
    changed = ask(site.url, "change_endpoint", made.id, description="orders", events=[])
    assert (changed.description, changed.events) == ("orders", ())
    ping = ask(site.url, "ping_endpoint", made.id)
    assert (ping.type, ping.state, ping.log) == ("webhook_endpoint.ping", "waiting", ())
    assert [each.id for each in ask(site.url, "endpoint_deliveries", made.id)] == [ping.id]
    assert ask(site.url, "redeliver", ping.id).id == ping.id
    assert ask(site.url, "redeliver_endpoint", made.id, since=0.0, only_failed=False) == 0  # it waits already
    video = ask(site.url, "create", "a red circle")
    site.worker.render()
    DeliveryStore(Store(site.redis)).relay()
    told = ask(site.url, "deliveries", video.id, limit=1)
    assert {(each.type, each.endpoint_id) for each in told} == {
        ("video.started", made.id),
        ("video.completed", made.id),
    }
    assert [each.id for each in ask(site.url, "endpoints")] == [made.id]
    ask(site.url, "delete_endpoint", made.id)
    assert ask(site.url, "endpoints") == ()


def test_a_refusal_names_field_value_and_bound(site: Any, ask: Ask):
    with pytest.raises(InvalidRequest, match="fps must be 1 to 30, got 99") as caught:
        ask(site.url, "create", "a red circle", fps=99, num_frames=3)
    faults = {fault.field: (fault.value, fault.bound) for fault in caught.value.faults}
    assert faults["fps"] == ("99", "1 to 30")
    assert set(faults) == {"fps", "num_frames"}
    assert caught.value.code == "invalid_fields"


def test_a_key_that_is_missing_is_an_exception_of_its_own(empty_record: None, start_gateway: Any, ask: Ask):
    with pytest.raises(NotAllowed, match="401"):
        ask(start_gateway(require_keys=True).url, "models")


@pytest.fixture
def cut(site: Any) -> Iterator[LossyProxy]:
    """A way to the gateway on which connections can be cut."""
    with LossyProxy(("127.0.0.1", httpx.URL(site.url).port)) as proxy:
        yield proxy


def test_a_download_goes_on_where_it_was_cut(site: Any, ask: Ask, cut: LossyProxy, folder: Path):
    site.create()
    video_id = site.worker.render()
    whole = site.client.get(f"/videos/{video_id}/content").content
    cut.cut_answer_after = len(whole) // 2
    ask(f"http://127.0.0.1:{cut.port}", "download", video_id, folder / "a.mp4")
    assert cut.cuts == 1
    assert (folder / "a.mp4").read_bytes() == whole
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]


def test_a_part_is_gone_on_with_only_while_it_is_a_part_of_that_file(site: Any, ask: Ask, folder: Path):
    site.create()
    video_id = site.worker.render()
    whole = site.client.get(f"/videos/{video_id}/content")
    tag, body = whole.headers["etag"].strip('"'), whole.content
    for name, part in ((tag, body[:100]), ("0" * 64, b"of another file"), (tag, body + b"too long")):
        (folder / f"a.mp4.{name}.part").write_bytes(part)
        ask(site.url, "download", video_id, folder / "a.mp4")
        assert (folder / "a.mp4").read_bytes() == body
        assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    # Other bytes of the same length under the right tag: the checksum finds them, and it begins anew.
    (folder / f"a.mp4.{tag}.part").write_bytes(b"x" * 100)
    ask(site.url, "download", video_id, folder / "a.mp4")
    assert (folder / "a.mp4").read_bytes() == body


def scripted(*replies: httpx.Response | Exception) -> tuple[Client, list[httpx.Request], list[float]]:
    asked: list[httpx.Request] = []
    slept: list[float] = []
    given = iter(replies)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        reply = next(given)
        if isinstance(reply, Exception):
            raise reply
        return reply

    client = Client(
        "http://gateway",
        transport=httpx.MockTransport(answer),
        clock=lambda: sum(slept),
        sleep=slept.append,
    )
    return client, asked, slept


@pytest.mark.parametrize("name", ["create_endpoint", "rotate_endpoint", "ping_endpoint"])
def test_what_must_not_be_done_twice_is_not_asked_for_twice(name: str):
    client, asked, _ = scripted(httpx.ReadError("cut"))
    with pytest.raises(Unreachable):
        getattr(client, name)("https://example.com/hook")
    assert len(asked) == 1


def test_a_refusal_that_says_so_is_not_repeated():
    client, asked, _ = scripted(httpx.Response(429, headers={"x-should-retry": "false", "retry-after": "1"}))
    with pytest.raises(Exception, match="429"):
        client.create("a red circle")
    assert len(asked) == 1


def test_retry_after_may_be_a_date_of_the_servers_clock():
    dates = {"date": "Fri, 27 Nov 2026 04:00:00 GMT", "retry-after": "Fri, 27 Nov 2026 04:00:07 GMT"}
    assert core.retry_after_s(httpx.Response(503, headers=dates)) == 7
    assert core.retry_after_s(httpx.Response(503, headers={"retry-after": "soon"})) == 0


def test_a_file_that_is_not_what_its_checksum_says_is_not_kept(folder: Path):
    digest = {"repr-digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", "etag": '"12345678"'}
    client, _, _ = scripted(httpx.Response(200, content=b"damaged", headers=digest))
    with pytest.raises(Unintelligible, match="Repr-Digest"):
        client.download("video_1", folder / "a.mp4")
    assert not list(folder.iterdir())


def test_looks_grow_rarer_while_nothing_changes_and_never_more_often_than_asked():
    def look(progress: int, **headers: str) -> httpx.Response:
        facts = {
            "id": "video_1",
            "status": "in_progress",
            "state": "running",
            "num_frames": 16,
            "fps": 8,
            "seed": 7,
        }
        return httpx.Response(200, json={**facts, "progress": progress}, headers=headers)

    done = httpx.Response(200, json=look(100).json() | {"status": "completed", "state": "succeeded"})
    client, _, slept = scripted(*[look(1)] * 4, look(2), look(3, **{"openai-poll-after-ms": "2000"}), done)
    client.wait("video_1")
    assert slept == [0.5, 0.75, 1.125, 1.6875, 0.5, 2.0]
