"""*Ask again like this*: the form holds all that the video was asked for, its picture and its gate too."""

import hashlib
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rig.browsing import OpenPage, keep

from service.contracts.receipt import KeyframeOrigin, KeyframeReceipt

pytestmark = pytest.mark.timeout(200)

UPLOADED = KeyframeReceipt(origin=KeyframeOrigin.UPLOAD, pixels_sha256="a" * 64)
CHOSEN_FILES = "document.querySelector('[name=input_reference]').files.length"


def asked_again(site: Any, page: Page) -> dict[str, Any]:
    """What comes of the button and of Make the video."""
    before = page.url
    page.get_by_role("button", name="Make the video").click()
    page.wait_for_url(lambda url: url != before)
    video: dict[str, Any] = site.client.get(f"/videos/{page.url.rpartition('#')[2]}").json()
    return video


def press(page: Page) -> None:
    page.get_by_role("button", name="Ask again like this").click()


def with_a_picture(site: Any, png: Any) -> str:
    files = {"input_reference": ("own.png", png(), "image/png")}
    site.client.post("/videos", data={"prompt": "with a picture"}, files=files).raise_for_status()
    made: str = site.worker.render(keyframe=UPLOADED)
    return made


def test_its_picture_is_sent_again(site: Any, png: Any, open_page: OpenPage) -> None:
    made = with_a_picture(site, png)
    page = open_page(f"{site.url}/#{made}", viewport={"width": 1200, "height": 900})
    press(page)
    page.wait_for_function(f"() => {CHOSEN_FILES} === 1")  # the page forbids to eval words alone
    keep(page, "playground-again")
    new = asked_again(site, page)
    assert new["fit"] == "cover"
    assert new["seed"] == site.client.get(f"/videos/{made}").json()["seed"]
    sent = site.jobs.get("default", new["id"]).request.input_picture
    keyframe = site.client.get(f"/videos/{made}/content", params={"variant": "image"}).content
    assert sent.sha256 == hashlib.sha256(keyframe).hexdigest()


def test_its_gate_is_asked_for_again_and_another_video_has_neither(
    site: Any, png: Any, open_page: OpenPage
) -> None:
    site.create(prompt="from words alone")
    painted = site.worker.render()
    gated = site.create(prompt="to choose", pause_after="image", candidates=3)["id"]
    site.worker.offer()
    site.client.post(f"/videos/{gated}/approve", json={"candidate": 1}).raise_for_status()
    assert site.worker.render() == gated
    made = with_a_picture(site, png)

    page = open_page(f"{site.url}/#{made}", viewport={"width": 1200, "height": 900})
    press(page)
    page.wait_for_function(f"() => {CHOSEN_FILES} === 1")  # the page forbids to eval words alone
    expect(page.get_by_label("Show me keyframes")).to_be_disabled()
    page.goto(f"{site.url}/#{gated}")
    expect(page.locator("#title")).to_have_text("to choose")
    press(page)
    expect(page.get_by_label("Show me keyframes")).to_be_checked()
    expect(page.get_by_label("How many")).to_have_value("3")
    assert page.evaluate(CHOSEN_FILES) == 0
    keep(page, "playground-again-gate")
    assert asked_again(site, page)["gate"]["count"] == 3

    page.goto(f"{site.url}/#{painted}")
    expect(page.locator("#title")).to_have_text("from words alone")
    press(page)
    expect(page.get_by_label("Show me keyframes")).not_to_be_checked()
    assert page.evaluate(CHOSEN_FILES) == 0


def test_a_picture_that_is_gone_is_told(site: Any, png: Any, open_page: OpenPage) -> None:
    made = with_a_picture(site, png)
    page = open_page(f"{site.url}/#{made}")
    expect(page.locator("#title")).to_have_text("with a picture")
    site.artifacts.delete(site.jobs.get("default", made).keyframe.key)
    press(page)
    expect(page.get_by_role("alert").first).to_have_text(
        "The picture of that video cannot be had: choose it again."
    )
    expect(page.get_by_label("What shall the video show?")).to_have_value("with a picture")
