"""The newest unmodified OpenAI client over a real socket: create, poll, list, download, delete, errors."""

import io
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from rig.picture_host import gives, picture_host

# The client warns that its own vendor's service ends; the API's shape lives on in ours.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def client(site: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{site.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def busy_worker(site: Any) -> Iterator[None]:
    """Renders whatever is queued, in a thread, until the test is over."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            claims = site.jobs.claim("default", "gpu-1", 1, 15.0, ["micro"])
            for claim in claims:
                site.worker.paint(claim)
                site.worker.finish(claim, site.worker.film(claim))
            stop.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(10)


@pytest.fixture
def picture_at(png: Any) -> Iterator[str]:
    """Where a picture lies."""
    with picture_host() as host:
        host.paths["/a.png"] = gives(png())
        yield f"{host.url}/a.png"


@pytest.mark.usefixtures("busy_worker")
def test_create_poll_download_delete(site: Any, client: OpenAI) -> None:
    video = client.videos.create_and_poll(
        prompt="a red circle moves left",
        model="micro",
        seconds="2",  # type: ignore[arg-type]
        size="96x64",  # type: ignore[arg-type]
        poll_interval_ms=50,
        extra_body={"seed": 7, "fps": 8, "metadata": {"order": "4711"}},
    )
    assert video.status == "completed"
    assert (video.progress, video.seconds, video.size, video.model) == (100, "2", "96x64", "micro")
    assert video.prompt == "a red circle moves left"
    assert video.error is None
    extra = video.model_extra or {}
    assert (extra["seed"], extra["state"], extra["metadata"]) == (7, "succeeded", {"order": "4711"})
    content = client.videos.download_content(video.id)
    assert content.read()[4:8] == b"ftyp"
    assert content.response.headers["content-type"] == "video/mp4"
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


@pytest.mark.usefixtures("busy_worker")
def test_a_picture_can_be_sent(site: Any, client: OpenAI, png: Any) -> None:
    video = client.videos.create_and_poll(
        prompt="it moves",
        input_reference=("me.png", io.BytesIO(png(96, 64)), "image/png"),
        size="96x64",  # type: ignore[arg-type]
        poll_interval_ms=50,
    )
    assert video.status == "completed"
    assert site.jobs.get("default", video.id).request.input_picture is not None


def test_paging_goes_through_every_video_once(site: Any, client: OpenAI) -> None:
    made = [site.create(seed=number)["id"] for number in range(5)]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
    assert [video.id for video in client.videos.list(limit=2, order="desc")] == made[::-1]


def test_a_cancelled_video_ends_the_polling_as_failed(site: Any, client: OpenAI) -> None:
    video_id = client.videos.create(prompt="x").id
    site.client.post(f"/videos/{video_id}/cancel")
    video = client.videos.poll(video_id)
    assert video.status == "failed"
    assert video.error is not None
    assert video.error.code == "cancelled"


def test_errors_reach_the_caller_as_openais_own(site: Any, client: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.videos.create(prompt="x", size="1x1")  # type: ignore[arg-type]
    assert "size must be one of 64x64, 96x64" in caught.value.message
    assert (caught.value.code, caught.value.param) == ("invalid_fields", "size")
    assert caught.value.request_id is not None
    with pytest.raises(openai.UnprocessableEntityError, match="model must be one of micro"):
        client.videos.create(prompt="x", model="sora-2")


def test_a_full_queue_is_ridden_out_by_the_clients_own_retries(start_gateway: Any, site: Any) -> None:
    small = start_gateway(queue_limit=1)
    first = small.create()
    with OpenAI(base_url=f"{small.url}/v1", api_key="unused", max_retries=0) as hasty:
        with pytest.raises(openai.RateLimitError):
            hasty.videos.create(prompt="y")
        # While the patient client waits as long as it is told, a worker takes the first job.
        claiming = threading.Timer(0.5, site.worker.claim)
        claiming.start()
        second = hasty.with_options(max_retries=2).videos.create(prompt="y")
        claiming.join()
    assert second.id != first["id"]


@pytest.mark.parametrize(("path", "instead"), [("edits", "remix"), ("characters", "input_reference")])
def test_what_no_model_here_does_is_told_with_what_there_is_instead(
    client: OpenAI, path: str, instead: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=instead) as caught:
        client.post(f"/videos/{path}", body={"prompt": "x"}, cast_to=object)
    assert caught.value.code == "cannot_edit"


def test_models_are_listed_and_looked_at(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["micro"]
    model = client.models.retrieve("micro")
    assert (model.id, model.object, (model.model_extra or {})["spec"]["sizes"]) == (
        "micro",
        "model",
        [[64, 64], [96, 64]],
    )
    with pytest.raises(openai.NotFoundError, match="there are micro") as caught:
        client.models.retrieve("sora-2")
    assert caught.value.code == "model_not_found"


def test_a_picture_by_url_goes_through_extra_body(
    empty_record: None, start_gateway: Any, png: Any, picture_at: str
) -> None:
    """The client itself refuses a dict for `input_reference`; its multipart form has brackets for one."""
    site = start_gateway(picture_origins=picture_at.rsplit("/", 1)[0])
    site.worker.announce()
    with OpenAI(base_url=f"{site.url}/v1", api_key="unused", max_retries=0) as client:
        reference = {"input_reference": {"image_url": picture_at}}
        video = client.videos.create(prompt="it moves", extra_body=reference)
    own = site.jobs.get("default", video.id).request.input_picture
    assert site.artifacts.head(own.key).sha256 == own.sha256


def test_a_film_is_extended_by_the_clients_own_call(site: Any, make_spec: Any, client: OpenAI) -> None:
    site.worker.announce(make_spec(keyframe="first"))
    site.create(seconds="2")
    old = site.worker.render()
    film = client.videos.extend(
        prompt="it turns around",
        seconds="2",  # type: ignore[arg-type]
        video=openai.omit,  # type: ignore[arg-type]
        extra_body={"video": {"id": old}},
    )
    assert (film.seconds, (film.model_extra or {})["extended_from_video_id"]) == ("3.875", old)
