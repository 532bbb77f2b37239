"""Runs in a venv that holds `replicate` and nothing of ours: every call of `client.predictions`, and `run`.

`python replicate_python.py DESCRIPTION.json` prints one JSON object: call -> {"verdict", "said"}.
"""

import base64
import io
import json
import sys
import time
from pathlib import Path

import httpx
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.pagination import paginate
from replicate.webhook import InvalidSignatureError, Webhooks, WebhookSigningSecret

SCENE = json.loads(Path(sys.argv[1]).read_text())
MODEL = f"microcinema/{SCENE['model']}"
ASKED = {"prompt": "a red circle moves left", "size": SCENE["size"], "seconds": SCENE["seconds"], "seed": 7}

client = Client(api_token="r8-never-for-the-bucket", base_url=SCENE["url"].removesuffix("/v1"))


def refused(status, call):
    caught = None
    try:
        call()
    except ReplicateError as error:
        caught = error
    assert caught is not None, "nothing was refused"
    assert caught.status == status, caught
    return caught


def is_film(url):
    """As any reader of a link: without a key."""
    return b"ftyp" in httpx.get(url, trust_env=False).raise_for_status().content[:12]


def create():
    nowhere = {"webhook": "http://127.0.0.1:1/hook", "webhook_events_filter": ["completed"]}
    made = client.predictions.create(version=MODEL, input=ASKED, **nowhere)
    assert (made.status, made.model, made.input["seed"]) == ("starting", MODEL, 7), made
    made.wait()
    assert (made.status, made.error) == ("succeeded", None), made
    assert made.metrics["predict_time"] > 0, made.metrics
    assert made.progress.percentage == 1.0, made.logs
    assert is_film(made.output)


def create_of_a_model():
    made = client.models.predictions.create(MODEL, input=ASKED)
    assert (made.model, made.version) == (MODEL, SCENE["model"]), made


def create_with_a_picture():
    picture = io.BytesIO(base64.b64decode(SCENE["picture"]))
    picture.name = "a.png"
    asked = {**ASKED, "input_reference": picture}
    made = client.predictions.create(version=MODEL, input=asked, file_encoding_strategy="base64")
    made.wait()
    assert made.status == "succeeded", made


def create_and_wait():
    """Held open by the server; with a second of patience the client has to go on by itself."""
    made = client.predictions.create(version=MODEL, input=ASKED, wait=True)
    assert made.status == "succeeded", made
    hasty = client.predictions.create(version=MODEL, input=ASKED, wait=1)
    hasty.wait()
    assert hasty.status == "succeeded", hasty


def run():
    assert is_film(str(client.run(MODEL, input=ASKED)))
    assert is_film(str(client.run(MODEL, input=ASKED, wait=1)))
    assert is_film(str(client.run(MODEL, input=ASKED, wait=False)))


def get():
    made = client.predictions.create(version=MODEL, input=ASKED)
    seen = client.predictions.get(made.id)
    assert (seen.id, seen.created_at, seen.input) == (made.id, made.created_at, made.input), seen


def listed():
    made = [client.predictions.create(version=MODEL, input=ASKED).id for _ in range(101)]
    walked = [each.id for page in paginate(client.predictions.list) for each in page]
    assert len(walked) == len(set(walked)), "a prediction came twice"
    assert [each for each in walked if each in made] == made[::-1]


def cancel():
    made = client.predictions.create(version=MODEL, input=ASKED)
    made.cancel()
    deadline = time.monotonic() + 60
    while made.status not in ("canceled", "succeeded"):  # its worker may have had the last step in hand
        assert time.monotonic() < deadline, made
        time.sleep(0.1)
        made.reload()
    late = client.predictions.create(version=MODEL, input=ASKED, wait=True)
    assert "ended" in refused(409, late.cancel).detail


def errors():
    bad = refused(422, lambda: client.predictions.create(version=MODEL, input={"prompt": "x", "fps": 9999}))
    assert bad.title == "Invalid fields", bad
    assert bad.detail.startswith("fps must be"), bad
    refused(422, lambda: client.predictions.create(version="no/such-model", input=ASKED))
    refused(404, lambda: client.predictions.get("video_" + "0" * 24))


def webhook():
    """By each secret of a rotation that is under way."""
    sent = SCENE["webhook"]
    for key in sent["secrets"]:
        secret = WebhookSigningSecret(key=key)
        Webhooks.validate(headers=sent["headers"], body=sent["body"], secret=secret, tolerance=300)
        try:
            Webhooks.validate(headers=sent["headers"], body=sent["body"] + " ", secret=secret)
        except InvalidSignatureError:
            continue
        raise AssertionError("a changed body was taken for ours")


CALLS = {
    "create": create,
    "create of a model": create_of_a_model,
    "create with input_reference": create_with_a_picture,
    "create and wait": create_and_wait,
    "run": run,
    "retrieve": get,
    "list, page by page": listed,
    "cancel": cancel,
    "errors": errors,
    "webhook verified": webhook,
}


def tried(call):
    try:
        said = call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the table
        return {"verdict": "fail", "said": f"{type(error).__name__}: {error}"[:300]}
    return {"verdict": "pass", "said": said or ""}


print(json.dumps({name: tried(call) for name, call in CALLS.items()}))
