"""Runs in a venv that holds one `openai` and nothing of ours: every call of `client.videos`, each on its own.

`python openai_python.py DESCRIPTION.json` prints one JSON object: call -> {"verdict", "said"}.
"""

import base64
import json
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from openai import OpenAI

warnings.simplefilter("ignore", DeprecationWarning)  # the vendor's own service ends; its shape lives on

SCENE = json.loads(Path(sys.argv[1]).read_text())
ASKED = {"prompt": "a red circle moves left", "size": SCENE["size"], "seconds": SCENE["seconds"]}
PICTURE = base64.b64decode(SCENE["picture"])
WAITERS = 6
TOO_LONG_S = 120

client = OpenAI(base_url=SCENE["url"], api_key="sk-never-for-the-bucket", max_retries=2)


def finished(video_id):
    deadline = time.monotonic() + TOO_LONG_S
    while (video := client.videos.retrieve(video_id)).status not in ("completed", "failed"):
        assert time.monotonic() < deadline, f"{video_id} is still {video.status}"
        time.sleep(0.1)
    assert video.status == "completed", video
    return video


def refused(error, call):
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


def create():
    """In whatever encoding this version chooses: that is what the table says."""
    own = {"seed": 7, "metadata": {"order": "4711"}}
    raw = client.videos.with_raw_response.create(**ASKED, extra_body=own)
    video = raw.parse()
    assert video.object == "video", video
    assert video.status in ("queued", "in_progress"), video
    assert (video.size, video.seconds) == (SCENE["size"], SCENE["seconds"]), video
    assert (video.model_extra["seed"], video.model_extra["metadata"]) == tuple(own.values()), video
    return raw.http_request.headers["content-type"].split(";")[0].removeprefix("application/")


def create_as_json():
    video = client.post("/videos", body=ASKED, cast_to=openai.types.Video)
    assert video.status in ("queued", "in_progress"), video


def create_with_a_picture():
    raw = client.videos.with_raw_response.create(**ASKED, input_reference=("a.png", PICTURE, "image/png"))
    assert raw.http_request.headers["content-type"].startswith("multipart/form-data")
    finished(raw.parse().id)


def create_and_poll():
    video = client.videos.create_and_poll(**ASKED, poll_interval_ms=100)
    assert (video.status, video.progress, video.error) == ("completed", 100, None), video


def retrieve():
    made = client.videos.create(**ASKED)
    seen = client.videos.retrieve(made.id)
    assert (seen.id, seen.created_at, seen.model) == (made.id, made.created_at, made.model), seen


def list_both_ways():
    made = [client.videos.create(**ASKED).id for _ in range(5)]
    for order, expected in (("asc", made), ("desc", made[::-1])):
        walked = [video.id for video in client.videos.list(limit=2, order=order)]
        assert len(walked) == len(set(walked)), "a video came twice"
        assert [each for each in walked if each in made] == expected, (order, walked)


def delete():
    made = client.videos.create_and_poll(**ASKED, poll_interval_ms=100)
    gone = client.videos.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "video.deleted"), gone
    refused(openai.NotFoundError, lambda: client.videos.retrieve(made.id))


def download(variant, begins, content_type):
    """By the gateway that sends clients to the bucket, which hears of the range and not of the key."""

    def call():
        made = client.videos.create_and_poll(**ASKED, poll_interval_ms=100)
        moved = OpenAI(base_url=SCENE["redirecting_url"], api_key="sk-never-for-the-bucket", max_retries=0)
        content = moved.videos.download_content(made.id, variant=variant)
        assert content.response.history[0].status_code == 302, content.response.history
        assert "authorization" not in content.response.request.headers
        assert content.response.headers["content-type"] == content_type, content.response.headers
        whole = content.read()
        assert begins in whole[:12]
        only = {"range": "bytes=2-11"}
        part = moved.videos.download_content(made.id, variant=variant, extra_headers=only)
        assert (part.response.status_code, part.read()) == (206, whole[2:12]), part.response

    return call


def remix():
    made = client.videos.create_and_poll(**ASKED, poll_interval_ms=100)
    again = client.videos.remix(made.id, prompt="a blue circle moves left")
    assert again.remixed_from_video_id == made.id, again


def errors():
    """Each in the client's own class."""
    bad = refused(openai.UnprocessableEntityError, lambda: client.videos.create(prompt="x", size="1x1"))
    assert (bad.code, bad.param) == ("invalid_fields", "size"), bad.body
    assert bad.request_id, "no request id"
    refused(openai.UnprocessableEntityError, lambda: client.videos.create(prompt="x", model="no-such-model"))
    refused(openai.NotFoundError, lambda: client.videos.retrieve("video_" + "0" * 24))
    refused(openai.BadRequestError, lambda: client.post("/videos", body=["no object"], cast_to=object))
    over = client.videos.create_and_poll(**ASKED, poll_interval_ms=100)
    late = refused(openai.ConflictError, lambda: client.post(f"/videos/{over.id}/cancel", cast_to=object))
    assert late.response.headers["x-should-retry"] == "false", late.response.headers
    stranger = OpenAI(base_url=SCENE["locked_url"], api_key="sk-of-nobody")
    refused(openai.AuthenticationError, stranger.videos.list)


def full_queue_retried():
    """As many at once as no queue of one holds: every one gets in, by the client's own retries alone."""
    narrow = OpenAI(base_url=SCENE["narrow_url"], api_key="unused", max_retries=20)
    hasty = narrow.with_options(max_retries=0)
    with ThreadPoolExecutor(WAITERS) as pool:
        hasty_ones = [pool.submit(hasty.videos.create, **ASKED) for _ in range(WAITERS)]
        refusals = {type(error) for each in hasty_ones if (error := each.exception())}
        assert refusals == {openai.RateLimitError}, refusals
        raws = list(pool.map(lambda _: narrow.videos.with_raw_response.create(**ASKED), range(WAITERS)))
    assert len({raw.parse().id for raw in raws}) == WAITERS
    assert any(raw.retries_taken for raw in raws), "the queue was never full"


def webhook():
    """In the middle of a rotation, so that the new secret and the old one are both good."""
    sent = SCENE["webhook"]
    for secret in sent["secrets"]:
        event = client.webhooks.unwrap(sent["body"], sent["headers"], secret=secret)
        assert (event.type, event.data.id) == ("video.completed", sent["video_id"]), event
    forged = sent["body"].replace("completed", "cancelled")
    refused(
        openai.InvalidWebhookSignatureError,
        lambda: client.webhooks.unwrap(forged, sent["headers"], secret=sent["secrets"][0]),
    )


def models():
    assert SCENE["model"] in [model.id for model in client.models.list()]
    assert client.models.retrieve(SCENE["model"]).id == SCENE["model"]
    refused(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))


def endpoints():
    made = [
        client.webhooks.create(name=f"n{n}", url="http://127.0.0.1:1/hook", event_types=["video.failed"])
        for n in range(3)
    ]
    assert len({each.signing_secret for each in made}) == len(made), "a secret of its own for each"
    ids = [each.id for each in made]
    assert [each.id for each in client.webhooks.list(limit=2) if each.id in ids] == ids
    changed = client.webhooks.update(ids[0], name="other", event_types=["video.completed"])
    assert (changed.name, changed.event_types, changed.url) == ("other", ["video.completed"], made[0].url)
    assert client.webhooks.retrieve(ids[0]).name == "other"
    rotated = client.webhooks.rotate_secret(ids[0], keep_old_secret_active_for_24_hours=True)
    assert rotated.signing_secret not in (None, made[0].signing_secret), "no new secret"
    assert "video.completed" in client.webhooks.event_types.list().data
    heard = client.webhooks.create(name="heard", url=SCENE["receiver"], event_types=["video.failed"])
    assert client.webhooks.test(heard.id, event_type="video.completed").status_code == 200
    client.webhooks.delete(heard.id)
    for each in ids:
        assert client.webhooks.delete(each).deleted
    refused(openai.NotFoundError, lambda: client.webhooks.retrieve(ids[0]))


CALLS = {
    "create": create,
    "create as JSON": create_as_json,
    "create with input_reference": create_with_a_picture,
    "create_and_poll": create_and_poll,
    "retrieve": retrieve,
    "list, both ways": list_both_ways,
    "delete": delete,
    "download video": download("video", b"ftyp", "video/mp4"),
    "download thumbnail": download("thumbnail", b"WEBP", "image/webp"),
    "download spritesheet": download("spritesheet", b"\xff\xd8", "image/jpeg"),
    "remix": remix,
    "errors": errors,
    "429 retried": full_queue_retried,
    "webhook verified": webhook,
    "models": models,
    **({"webhook endpoints": endpoints} if hasattr(client.webhooks, "rotate_secret") else {}),
}


def missing(error):
    """A route or a variant that the service does not have is told from one that does not work."""
    if not isinstance(error, openai.APIStatusError):
        return False
    return error.code == "unknown_route" or (error.status_code, error.param) == (422, "variant")


def tried(call):
    try:
        said = call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the table
        if missing(error):
            return {"verdict": "route missing", "said": f"{error.status_code} {error.code}"}
        return {"verdict": "fail", "said": f"{type(error).__name__}: {error}"[:300]}
    return {"verdict": "pass", "said": said or ""}


print(json.dumps({name: tried(call) for name, call in CALLS.items()}))
