"""Every Python and JavaScript block of docs/api.md does what it says, against a real gateway."""

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig.picture_host import PictureHost, gives, picture_host
from rig.processes import ROOT, wait_until
from standardwebhooks import Webhook

from service.client import Client
from service.contracts.event import Event
from service.contracts.lifecycle import State
from service.notifier.signing import Signer, body_of

PAGE = (ROOT / "docs/api.md").read_text()
SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="
PRELUDE = ROOT / "tests/rig/documented_page.mjs"
#: Run elsewhere: signed films in tests/e2e/test_credentials.py, npm's openai in `make conformance`.
ELSEWHERE = ("import c2pa", "client.videos.remix(id")
#: Routes that are not in the blocks which have every call: the other way to ask for the same.
OTHER_WAYS = ("/predictions", "/videos/extensions", "/events", "/videos/{video_id}/events")
OPENAIS_WAYS = (
    ("GET", "/webhook_event_types"),
    ("POST", "/webhook_endpoints/{endpoint_id}"),
    ("POST", "/webhook_endpoints/{endpoint_id}/rotate_secret"),
)
#: What stands in the block of one language alone that has every call of its kind.
EVERY_CALL = ("client.redeliver_endpoint", "calledOff")
EVERY_PREDICTION = ("stopped",)
EVERY_OPENAI_HOOK = ("rotate_secret",)

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")]


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [block for block in found if not any(mark in block for mark in ELSEWHERE)]


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        sentence = (
            "THE JAVASCRIPT OF docs/api.md IS NOT TESTED: no node here, `make setup-system` installs it"
        )
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


@pytest.fixture(scope="module")
def host() -> Iterator[PictureHost]:
    with picture_host() as host:
        yield host


@pytest.fixture
def served(
    empty_record: None, start_gateway: Any, make_spec: Any, png: Any, tmp_path: Path, host: PictureHost
) -> Iterator[SimpleNamespace]:
    """A gateway whose jobs are rendered as they come, a video, one that waits for a choice, and a folder."""
    host.paths["/a.png"] = gives(png(64, 64))
    (tmp_path / "picture.png").write_bytes(png(80, 60))
    site = start_gateway(picture_origins=host.url, poll_after_ms=50)
    site.worker.announce(make_spec(name="microcinema-micro", keyframe="first"))
    video_id, gated_id = site.create()["id"], site.create(pause_after="image", candidates=2)["id"]
    ended = threading.Event()
    gpu = threading.Thread(target=keep_rendering, args=(site, ended))
    gpu.start()
    for asked, state in ((video_id, State.SUCCEEDED), (gated_id, State.AWAITING_APPROVAL)):
        wait_until(
            lambda asked=asked, state=state: site.jobs.record(asked).state is state, 60, f"{asked} is {state}"
        )
    yield SimpleNamespace(
        site=site, id=video_id, gated=gated_id, folder=tmp_path, picture=f"{host.url}/a.png"
    )
    ended.set()
    gpu.join(60)
    assert not gpu.is_alive()


def is_in(site: Any, job_id: str, state: State) -> bool:
    return bool(site.jobs.record(job_id).state is state)


def is_called_off(site: Any, job_id: str) -> bool:
    return bool(site.jobs.record(job_id).cancel_requested)


def keep_rendering(site: Any, ended: threading.Event) -> None:
    while not ended.wait(0.02):
        for claim in site.jobs.claim("default", "gpu-1", 1, 60.0, ["microcinema-micro"]):
            if claim.job.keyframe is None and claim.job.request.gate is not None:
                site.worker.offer(claim)
                continue
            if claim.job.keyframe is None:
                site.worker.paint(claim)
            while claim.job.start_by is not None and not is_called_off(site, claim.job.id):
                time.sleep(0.02)  # the example that is cancelled must not end before
            site.jobs.finish(claim.job.id, claim.attempt, site.worker.film(claim))


def in_our_place(block: str, served: SimpleNamespace) -> str:
    """The block with addresses of this test in place of examples."""
    for example, ours in (
        ("http://127.0.0.1:8000", served.site.url),
        ("https://example.com/a.png", served.picture),
        ("whsec_...", SECRET),
    ):
        block = block.replace(example, ours)
    return block


def signed(secret: str) -> tuple[bytes, dict[str, str]]:
    """A letter as the notifier would send it now."""
    facts = {"state": "succeeded", "status": "completed"}
    event = Event(
        id="evt_a_1", seq=1, type="video.completed", job_id="a", tenant="t", created_at=1.0, data=facts
    )
    body = body_of(event)
    return body, Signer((secret,)).headers(event.id, body, time.time())


def asked_routes(site: Any) -> set[tuple[str, str]]:
    """What the gateway was asked for, method and route, after a look that nothing was refused."""
    (requests,) = (
        family
        for family in text_string_to_metric_families(site.client.get("/metrics").text)
        if family.name == "microcinema_http_requests"
    )
    counted = [sample.labels for sample in requests.samples if sample.name.endswith("_total")]
    assert [each for each in counted if int(each["status"]) >= 400] == []
    return {(each["method"], each["route"].removeprefix("/v1")) for each in counted}


def promised_routes(site: Any, block: str) -> set[tuple[str, str]]:
    """What this block has to ask for: of an owner, but for what links lead to."""
    paths = site.client.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes.issuperset(OPENAIS_WAYS)
    if any(mark in block for mark in EVERY_OPENAI_HOOK):
        return set(OPENAIS_WAYS)
    if any(mark in block for mark in EVERY_PREDICTION):
        return {(method, path) for method, path in routes if "/predictions" in path}
    if any(mark in block for mark in EVERY_CALL):
        videos = ("/videos", "/models", "/webhook")
        theirs = {each for each in routes if each[1].startswith(videos) and not each[1].endswith(OTHER_WAYS)}
        return theirs.difference(OPENAIS_WAYS)
    return set()


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block(served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    monkeypatch.chdir(served.folder)
    names: dict[str, Any] = {
        "URL": served.site.url,
        "ID": served.id,
        "video": SimpleNamespace(id=served.id),
        "Path": Path,
        "httpx": httpx,
        "openai": openai,
        "Webhook": Webhook,
        "Client": Client,
        "videos": openai.OpenAI(base_url=f"{served.site.url}/v1", api_key="unused").videos,
    }
    with Client(served.site.url) as names["client"], ExitStack() as left_open:
        for statement in ast.parse(in_our_place(block, served)).body:
            names["raw_body"], names["headers"] = signed(names.get("made", {}).get("secret", SECRET))
            run(statement, names)
        if isinstance(names["client"], Client):
            left_open.callback(names["client"].close)  # a block may have made one of its own
    assert asked_routes(served.site) >= promised_routes(served.site, block)


def run(statement: ast.stmt, names: dict[str, Any]) -> None:
    """At the top level of a page, where `await` is allowed."""
    code = compile(ast.Module([statement], []), "docs/api.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    told = eval(code, names)
    if inspect.iscoroutine(told):
        asyncio.run(told)


@pytest.mark.parametrize("block", blocks("js"))
def test_a_javascript_block(served: SimpleNamespace, node: str, block: str) -> None:
    script = served.folder / "block.mjs"
    around = "await (async () => {{\n{block}\n}})()\nawait Promise.all(streams)\n"
    script.write_text(PRELUDE.read_text() + around.format(block=in_our_place(block, served)))
    asked = served.gated if "${id}/approve" in block else served.id
    environment = {**os.environ, "GIVEN": json.dumps({"URL": served.site.url, "id": asked})}
    ended = subprocess.run(
        [node, script], env=environment, cwd=served.folder, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert asked_routes(served.site) >= promised_routes(served.site, block)


def test_every_block_is_run_here_or_elsewhere() -> None:
    assert PAGE.count("```python\n") == len(blocks("python")) + 1
    assert PAGE.count("```js\n") == len(blocks("js")) + 1
    assert len(blocks("python")) > 8
    assert len(blocks("js")) > 4
    for language in ("python", "js"):
        for marks in (EVERY_CALL, EVERY_PREDICTION, EVERY_OPENAI_HOOK):
            assert [mark for block in blocks(language) for mark in marks if mark in block], (language, marks)
