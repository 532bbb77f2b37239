"""The page at `/` in a real browser, against a real service: what people see, click and type."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rig.browsing import SECONDS, OpenPage, fits, has_pixels, keep

from models.cinema import MICRO_WEIGHTS

pytestmark = pytest.mark.timeout(400)


def test_from_a_prompt_over_the_choice_of_a_keyframe_to_a_video_that_plays(
    start_service: Callable[..., Any], open_page: OpenPage
) -> None:
    service = start_service(MICROCINEMA_WEIGHTS=str(MICRO_WEIGHTS))
    service.worker()
    page = open_page(service.url, viewport={"width": 1200, "height": 900}, color_scheme="light")
    expect(page.get_by_role("status").first).to_have_text("1 of 1 model ready")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(service.url)))
    assert page.locator("select[name=size] option").all_text_contents() == ["64 × 64"]

    page.keyboard.press("/")
    page.keyboard.type("a green star moving left on a black background near a dragon")
    page.get_by_label("Show me keyframes").check()
    page.get_by_label("How many").select_option("3")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Seed").fill("5")
    page.get_by_label("Steps").fill("8")
    page.get_by_label("What shall the video show?").press("Control+Enter")

    choices = page.get_by_role("radio")
    expect(choices).to_have_count(3, timeout=60 * SECONDS)
    has_pixels(page, "#candidates img")
    expect(page.locator("#warnings")).to_contain_text("dragon")
    keep(page, "playground-choice")
    choices.first.press("ArrowRight")
    expect(choices.nth(1)).to_be_checked()
    page.get_by_role("button", name="Take this one").click()

    has_pixels(page, "#screen video")
    expect(page.locator("#facts")).to_contain_text("succeeded")
    page.wait_for_function("() => document.querySelector('#screen video').currentTime > 0")
    has_pixels(page, "#gallery img")
    video_id = page.url.rpartition("#")[2]
    assert service.video(video_id)["gate"]["chosen"] == 1
    keep(page, "playground-light")
    looks, streams = asked.count(f"/videos/{video_id}"), asked.count(f"/videos/{video_id}/events")
    assert streams >= 1
    assert looks <= streams + 3, "it listens: looking again and again is for where that fails"

    curl = page.locator("#snippet").inner_text()
    assert curl.startswith(f"curl -s {service.url}/videos")
    page.get_by_role("tab", name="Python").click()
    assert f'base_url="{service.url}/v1"' in page.locator("#snippet").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"

    content_opened_by_itself_is_shown(service, video_id, open_page)
    page.reload()  # the address keeps the video, the gallery is the record's
    has_pixels(page, "#screen video")
    has_pixels(page, "#gallery img")
    page.get_by_role("button", name="Ask again like this").click()
    expect(page.get_by_label("What shall the video show?")).to_have_value(service.video(video_id)["prompt"])
    expect(page.get_by_label("Seed")).to_have_value("5")
    the_receipt_is_readable_and_the_same_comes_out_again(page)
    on_a_phone_in_the_dark(service, open_page)


def the_receipt_is_readable_and_the_same_comes_out_again(page: Page) -> None:
    page.locator("#receipt summary").click()
    expect(page.locator("#receipt-lines")).to_contain_text("painted from seed 6")  # the second candidate
    expect(page.locator("#receipt-lines")).to_contain_text("8 steps of dpm++2m")
    page.get_by_role("button", name="Reproduce").click()
    expect(page.locator("#comparison")).to_contain_text("Making it again")
    expect(page.locator("#comparison")).to_contain_text(
        "Equal: every frame is the same.", timeout=90 * SECONDS
    )
    has_pixels(page, "#screen video")
    keep(page, "playground-equal")


def content_opened_by_itself_is_shown(service: Any, video_id: str, open_page: OpenPage) -> None:
    """The browser makes a page around a film or picture; the answer's own policy must let it."""
    content = f"{service.url}/videos/{video_id}/content"
    has_pixels(open_page(content), "video")
    has_pixels(open_page(f"{content}?variant=thumbnail"), "img")


WATCH_THE_SCREEN = """() => {
    globalThis.captions = [];
    new MutationObserver(() => {
        const words = document.querySelector("#screen figure img")?.alt;
        if (words && captions.at(-1) !== words) captions.push(words);
    }).observe(document.querySelector("#screen"), { childList: true, subtree: true, characterData: true });
}"""
"""What each preview is called, in the order in which the page shows them."""


def _place(caption: str) -> int:
    """The keyframe as it becomes, the keyframe, and then the video."""
    return 0 if "the keyframe so far" in caption else 1 if "the keyframe" in caption else 2


def on_a_phone_in_the_dark(service: Any, open_page: OpenPage) -> None:
    """Nothing is cut off and everything can be touched."""
    page = open_page(
        service.url,
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
    )
    page.get_by_role("button", name="a red circle moving right").tap()
    page.evaluate(WATCH_THE_SCREEN)
    page.get_by_role("button", name="Make the video").tap()
    expect(page.locator("#screen figcaption")).to_contain_text("so far, behind step", timeout=60 * SECONDS)
    has_pixels(page, "#screen figure img")
    assert fits(page)
    keep(page, "playground-preview")
    has_pixels(page, "#screen video")
    captions = page.evaluate("captions")
    behind = [(_place(words), int((re.findall(r"step (\d+)", words) or ["0"])[0])) for words in captions]
    assert behind[-1] > (2, 0)
    assert behind == sorted(set(behind)), "further on with every picture"
    expect(page.locator("#screen figure")).to_have_count(0)
    assert fits(page)
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, textarea')]"
        ".filter(e => e.offsetParent && !e.closest('#examples') && e.offsetHeight < 36)"
        ".map(e => e.outerHTML)"
    )
    assert small == []
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    keep(page, "playground-phone")
    page.get_by_role("button", name="Switch between light and dark").tap()
    assert page.evaluate(background) != dark


def test_with_keys_a_fault_stands_beside_its_field_and_a_waiting_job_can_be_called_off(
    start_service: Callable[..., Any], open_page: OpenPage
) -> None:
    secret = "mck_" + "k" * 43
    service = start_service(MICROCINEMA_REQUIRE_KEYS="true", MICROCINEMA_BOOTSTRAP_KEY=secret)
    service.worker().kill()  # its model is known, and nobody is there to render
    page = open_page(service.url)
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("status").first).to_contain_text("1 model")
    hostile = "<img src=x onerror=document.title='owned'>"
    page.get_by_label("What shall the video show?").fill(hostile)
    page.get_by_text("More", exact=True).click()
    page.locator("#wish").evaluate("form => { form.noValidate = true }")
    page.get_by_label("Seed").fill("99999999999")
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("seed must be 0 to")
    expect(page.get_by_label("Seed")).to_have_attribute("aria-invalid", "true")

    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#doing")).to_contain_text("next in line")
    expect(page.locator("#title")).to_have_text(hostile)
    expect(page.locator("#gallery")).to_contain_text(hostile)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#facts")).to_contain_text("cancelled")
    expect(page.locator("#gallery .blank")).to_have_text("cancelled")
    assert page.title() == "MicroCinema playground"
    assert "$MICROCINEMA_API_KEY" in page.locator("#snippet").inner_text()
    assert secret not in page.content()
