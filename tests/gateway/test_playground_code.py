"""The code that the page hands out, run as it is: it asks for what the video on the stage was asked for."""

import ast
import json
import shutil
import subprocess
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rig.browsing import OpenPage

pytestmark = pytest.mark.timeout(200)

PROMPT = """it's a "red" circle, $HOME `id` \\ ${x} é 🎬"""
ASKED = ("prompt", "model", "size", "num_frames", "fps", "seed", "negative_prompt", "gamma", "sampler")


@pytest.fixture
def video(site: Any) -> dict[str, Any]:
    made: dict[str, Any] = site.create(
        prompt=PROMPT, negative_prompt="it's grey", seed=11, fps=5, size="96x64"
    )
    return made


def code(page: Page, language: str) -> str:
    page.get_by_role("tab", name=language).click()
    expect(page.get_by_role("tabpanel", name=language)).to_be_visible()
    return page.locator("#snippet").inner_text()


def wish(video: dict[str, Any]) -> dict[str, Any]:
    return {name: video[name] for name in ASKED}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_asks_for_the_same(site: Any, video: dict[str, Any], open_page: OpenPage) -> None:
    page = open_page(f"{site.url}/#{video['id']}")
    line = ("bash", "-c", code(page, "curl"))
    made = json.loads(subprocess.run(line, check=True, capture_output=True, timeout=60).stdout)
    assert wish(made) == wish(video)
    assert made["id"] != video["id"]


def test_python_asks_for_the_same(site: Any, video: dict[str, Any], open_page: OpenPage) -> None:
    page = open_page(f"{site.url}/#{video['id']}")
    calls = [node for node in ast.walk(ast.parse(code(page, "Python"))) if isinstance(node, ast.Call)]
    (create,) = (each for each in calls if ast.unparse(each.func).endswith("create_and_poll"))
    asked = {str(each.arg): ast.literal_eval(each.value) for each in create.keywords}
    body = {**asked.pop("extra_body"), **asked}
    made = site.client.post("/v1/videos", json=body).json()
    assert wish(made) == wish(video)


def test_javascript_asks_for_the_same(site: Any, video: dict[str, Any], open_page: OpenPage) -> None:
    page = open_page(f"{site.url}/#{video['id']}")
    script = code(page, "JavaScript").replace(
        "console.log(await answer.json())", "return await answer.json()"
    )
    made = page.evaluate(f"async () => {{ {script} }}")
    assert wish(made) == wish(video)
