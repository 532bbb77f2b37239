"""Every curl line of the README and of docs/api.md does what it says, against a real gateway."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.picture_host import PictureHost, gives, picture_host
from rig.processes import ROOT


def curl_lines() -> list[str]:
    texts = [(ROOT / page).read_text() for page in ("README.md", "docs/api.md")]
    blocks = [block for text in texts for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("curl ")]


@pytest.fixture(scope="module")
def host() -> Iterator[PictureHost]:
    with picture_host() as host:
        yield host


def asked(line: str) -> tuple[str, str]:
    """Method and route of a line."""
    given = re.search(r" -X (\w+)", line)
    method = given[1].lower() if given else "post" if re.search(r" -[dF] ", line) else "get"
    (path,) = re.findall(r"\$URL([^\s\"'?]*)", line)
    for variable, name in (("ID", "video_id"), ("HOOK", "endpoint_id"), ("DELIVERY", "delivery_id")):
        path = path.replace(f"${variable}", f"{{{name}}}")
    return method, path.replace("microcinema/$MODEL", "{owner}/{name}").replace("$MODEL", "{name}")


def test_every_call_of_an_owner_has_its_line() -> None:
    document = json.loads(Path(__file__).with_name("openapi.json").read_text())
    theirs = ("/videos", "/models", "/webhook", "/predictions")
    routes = {
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith(theirs)
    }
    assert {asked(line) for line in curl_lines()} == routes


def test_there_are_such_lines() -> None:
    assert len(curl_lines()) > 10
    assert all(line.startswith("curl -s ") for line in curl_lines())


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("line", curl_lines())
def test_a_documented_call(
    empty_record: None,
    start_gateway: Any,
    make_spec: Any,
    png: Any,
    tmp_path: Path,
    host: PictureHost,
    line: str,
) -> None:
    host.paths["/a.png"] = gives(png(80, 60))
    site = start_gateway(picture_origins=host.url)
    site.worker.announce(make_spec(keyframe="first"))  # a model that can do all that is documented
    (tmp_path / "picture.png").write_bytes(png(80, 60))
    gated = {"pause_after": "image", "candidates": 2} if "/approve" in line else {}
    video_id = site.create(**gated)["id"]
    if gated:
        site.worker.offer()
    elif "/cancel" not in line:  # which is for videos that wait or run
        site.worker.render()
    endpoint = site.client.post("/webhook_endpoints", json={"url": "https://example.com/hook"}).json()["id"]
    ping = site.client.post(f"/webhook_endpoints/{endpoint}/test").json()["id"]
    strict = "set -o pipefail; " + line.replace("curl -s ", "curl -sS --fail ")
    environment = {**os.environ, "URL": site.url, "ID": video_id, "no_proxy": "*"}
    environment["PICTURE_URL"] = f"{host.url}/a.png"
    environment |= {"HOOK": endpoint, "DELIVERY": ping, "MODEL": "micro"}
    ended = subprocess.run(
        ["bash", "-c", strict], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    made = {path.name for path in tmp_path.iterdir() if path.is_file() and path.stat().st_size} - {
        "picture.png"
    }
    assert ended.stdout or made == set(re.findall(r"-o (\S+)", line)), "it answers, or writes what it names"
