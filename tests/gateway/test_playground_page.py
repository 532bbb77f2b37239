"""The page where nothing is there yet, or something is wrong: what people see, and where the focus goes."""

from typing import Any

import pytest
from playwright.sync_api import expect
from rig.browsing import OpenPage, keep

from service.contracts.failure import Failure, FailureCode
from service.contracts.receipt import KeyframeOrigin, KeyframeReceipt
from service.store.nouns import Failed

pytestmark = pytest.mark.timeout(200)


def test_faults_are_marked_uncovered_and_led_to(site: Any, open_page: OpenPage) -> None:
    page = open_page(site.url)
    page.locator("#wish").evaluate("form => { form.noValidate = true }")
    page.get_by_label("What shall the video show?").fill("a red circle")
    page.locator("#wish summary").click()
    page.get_by_label("Steps").fill("999")
    page.get_by_label("Seed").fill("99999999999")
    page.locator("#wish summary").click()
    expect(page.get_by_label("Steps")).to_be_hidden()
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("num_inference_steps must be 4 to 50, got 999")
    for name in ("Steps", "Seed"):
        expect(page.get_by_label(name)).to_be_visible()
        expect(page.get_by_label(name)).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label(name)).to_have_accessible_description(page.locator("#fault").inner_text())
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    keep(page, "playground-fault")
    page.get_by_label("Steps").fill("5")
    page.get_by_label("Seed").fill("5")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#doing")).to_contain_text("next in line")
    expect(page.locator("[aria-invalid]")).to_have_count(0)


def test_what_the_browser_itself_finds_wrong_is_uncovered_too(site: Any, open_page: OpenPage) -> None:
    page = open_page(site.url)
    page.get_by_label("What shall the video show?").fill("a red circle")
    page.locator("#wish summary").click()
    page.get_by_label("Steps").fill("999")
    page.locator("#wish summary").click()
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_label("Steps")).to_be_focused()


def test_before_the_first_video_the_page_says_what_will_be_where(site: Any, open_page: OpenPage) -> None:
    page = open_page(site.url, color_scheme="dark")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#none")).to_be_visible()
    keep(page, "playground-empty")
    page.get_by_role("button", name="a red circle moving right").click()
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#stage")).to_be_visible()
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.locator("#none")).to_be_hidden()


def test_a_video_that_is_not_there_is_told_and_leaves_nothing_to_press(
    site: Any, open_page: OpenPage
) -> None:
    there = site.create()["id"]
    page = open_page(f"{site.url}/#video_0123456789abcdef")
    expect(page.locator("#screen")).to_contain_text("no video")
    expect(page.locator("#actions")).to_be_hidden()
    page.locator("#gallery button").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    site.client.delete(f"/videos/{there}")
    expect(page.locator("#screen")).to_contain_text("no video")
    expect(page.locator("#actions")).to_be_hidden()
    expect(page.locator("#gallery button")).to_have_count(0)
    keep(page, "playground-gone")


def test_the_page_learns_that_a_worker_has_come(
    empty_record: None, start_gateway: Any, open_page: OpenPage
) -> None:
    site = start_gateway()
    page = open_page(site.url)
    expect(page.get_by_role("status").first).to_have_text("no model is served yet")
    site.worker.announce()
    expect(page.get_by_role("status").first).to_have_text("1 of 1 model ready")
    assert page.locator("select[name=size] option").all_text_contents() == ["64 × 64", "96 × 64"]


def test_the_keyframe_that_is_picked_is_shown_large(site: Any, open_page: OpenPage) -> None:
    gated = site.create(pause_after="image", candidates=3)["id"]
    site.worker.offer()
    page = open_page(f"{site.url}/#{gated}")
    shown = page.locator("#screen img")
    expect(shown).to_have_attribute("alt", "Keyframe 1")
    page.get_by_role("radio").first.press("ArrowRight")
    expect(shown).to_have_attribute("alt", "Keyframe 2")
    expect(page.locator("#snippet-note")).to_contain_text("takes the first")
    page.get_by_role("button", name="Take this one").click()
    expect(page.locator("#choice")).to_be_hidden()
    assert site.client.get(f"/videos/{gated}").json()["gate"]["chosen"] == 1


def test_the_code_says_where_it_makes_another_video(site: Any, png: Any, open_page: OpenPage) -> None:
    files = {"input_reference": ("a.png", png(64, 64))}
    site.client.post("/videos", data={"prompt": "with a picture"}, files=files)
    uploaded = KeyframeReceipt(origin=KeyframeOrigin.UPLOAD, pixels_sha256="e" * 64)
    pictured = site.worker.render(keyframe=uploaded)
    site.create(prompt="from words alone")
    painted = site.worker.render()
    page = open_page(f"{site.url}/#{painted}")
    expect(page.locator("#snippet")).to_contain_text("from words alone")
    expect(page.locator("#snippet-note")).to_be_empty()
    page.goto(f"{site.url}/#{pictured}")
    expect(page.locator("#snippet")).to_contain_text("with a picture")
    expect(page.locator("#snippet-note")).to_contain_text("a picture that this code does not send")


def test_what_is_opened_from_the_gallery_comes_into_sight(site: Any, open_page: OpenPage) -> None:
    for _ in range(4):
        site.create()
    page = open_page(site.url, viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True)
    page.locator("#gallery button").last.tap()
    expect(page.locator("#screen")).to_be_in_viewport(ratio=1)
    page.locator("#gallery button").first.tap()
    expect(page.locator("#screen")).to_be_in_viewport(ratio=1)


def test_a_failure_is_told_though_its_keyframe_is_shown(site: Any, open_page: OpenPage) -> None:
    failed = site.create()["id"]
    claim = site.worker.claim()
    site.worker.paint(claim)
    failure = Failure(code=FailureCode.NON_FINITE, message="The frames are not numbers.", retryable=True)
    site.worker.finish(claim, Failed(failure))
    page = open_page(f"{site.url}/#{failed}")
    expect(page.locator("#screen img")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("failed: The frames are not numbers.")


def test_the_languages_are_one_stop_and_arrows_go_between_them(site: Any, open_page: OpenPage) -> None:
    page = open_page(f"{site.url}/#{site.create()['id']}")
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="JavaScript")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="JavaScript")).to_contain_text("await fetch(")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="curl")).to_contain_text("curl -s")
    expect(page.get_by_role("tab", name="curl")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Tab")
    expect(page.locator("#copy")).to_be_focused()
