"""The receipt on the page, and a video made again from there: what people read, press and are told."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rig.browsing import OpenPage, fits, keep
from rig.receipts import WEIGHTS

from service.contracts.receipt import MAX_PSNR_DB, Reproduction, Verdict

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def made(site: Any) -> str:
    """A finished video."""
    site.create(seed=7)
    done: str = site.worker.render()
    return done


def reproduced(site: Any, page: Page) -> str:
    """Reproduce is pressed by key; the id of the video that the page follows then."""
    before = page.url
    page.get_by_role("button", name="Reproduce").press("Enter")
    page.wait_for_url(lambda url: url != before)
    expect(page.locator("#comparison")).to_contain_text("Making it again, to compare the frames.")
    new: str = page.url.rpartition("#")[2]
    return new


def test_the_receipt_says_in_lines_what_decided_about_the_frames(
    site: Any, made: str, open_page: OpenPage
) -> None:
    page = open_page(f"{site.url}/#{made}", permissions=["clipboard-read", "clipboard-write"])
    lines = page.locator("#receipt-lines")
    expect(page.locator("#receipt")).to_be_visible()
    expect(lines).to_be_hidden()
    page.locator("#receipt summary").press("Enter")
    expect(lines).to_be_visible()
    read = dict(zip(*(lines.locator(tag).all_text_contents() for tag in ("dt", "dd")), strict=True))
    assert read == {
        "seed": "7",
        "keyframe": "painted from seed 7",
        "motion": "25 steps of dpm++2m, guidance 5, float32",
        "noise prior": "γ 0.02",
        "weights": f"micro {WEIGHTS}",
        "device": "cpu FAKE",
        "batch": "alone",
        "versions": "torch 2",
        "frames": f"sha256 {'f' * 64}",
    }
    page.get_by_role("button", name="Copy as JSON").press("Enter")
    expect(page.locator("#copy-receipt")).to_have_text("Copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied == site.client.get(f"/videos/{made}/receipt").json()


def test_without_a_clipboard_the_receipt_is_shown_and_selected(
    site: Any, made: str, open_page: OpenPage
) -> None:
    page = open_page(f"{site.url}/#{made}")
    page.locator("#receipt summary").click()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')) }")
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.locator("#copy-receipt")).to_have_text("Selected")
    assert json.loads(page.evaluate("String(getSelection())"))["weight_hash"] == WEIGHTS


def test_an_equal_repetition_says_so_and_leads_to_its_original(
    site: Any, made: str, open_page: OpenPage
) -> None:
    page = open_page(f"{site.url}/#{made}")
    expect(page.locator("#comparison")).to_be_empty()
    new = reproduced(site, page)
    expect(page.locator("#title")).to_be_focused()  # what had the focus is hidden now
    expect(page.locator("#receipt")).to_be_hidden()
    assert site.worker.render() == new
    expect(page.locator("#comparison strong")).to_have_text("Equal: every frame is the same.")
    expect(page.locator("#gallery button")).to_have_count(2)
    page.get_by_role("link", name="Show the original").press("Enter")
    expect(page.locator("#facts")).to_contain_text(made)
    expect(page.locator("#comparison")).to_be_empty()
    page.go_back()
    expect(page.locator("#facts")).to_contain_text(new)


def test_an_unequal_one_says_how_far_apart_and_what_was_changed(
    site: Any, made: str, open_page: OpenPage
) -> None:
    page = open_page(
        f"{site.url}/#{made}",
        viewport={"width": 375, "height": 740},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
    )
    page.locator("#receipt summary").tap()
    new = reproduced(site, page)
    assert site.worker.render(frame_digest="0" * 64, batch=2) == new
    verdict = page.locator("#comparison strong")
    expect(verdict).to_have_text("Not equal: 40.5 dB apart. Changed since: batch.")
    expect(page.locator("#receipt-lines")).to_contain_text("with 1 other")
    assert fits(page)
    keep(page, "playground-unequal")


def test_one_that_proves_nothing_says_why(site: Any, made: str, open_page: OpenPage) -> None:
    page = open_page(f"{site.url}/#{made}")
    new = reproduced(site, page)
    reason = "device_class was cpu A and is cpu B"
    verdict = Reproduction(
        verdict=Verdict.INCOMPARABLE, psnr_db=MAX_PSNR_DB, changed=("device_class",), reason=reason
    )
    site.worker.render(verdict=verdict, frame_digest="0" * 64)
    expect(page.locator("#comparison strong")).to_have_text(
        "Not equal, though the stored files decode alike. "
        f"This proves nothing: {reason}. Changed since: device."
    )
    assert page.url.endswith(new)


def test_a_cancelled_one_says_that_nothing_came_of_it(site: Any, made: str, open_page: OpenPage) -> None:
    page = open_page(f"{site.url}/#{made}")
    reproduced(site, page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#comparison")).to_contain_text("Nothing came of making it again.")
    expect(page.locator("#reproduce")).to_be_hidden()


def test_a_refusal_stands_beside_the_button(
    site: Any, made: str, open_page: OpenPage, make_spec: Any
) -> None:
    page = open_page(f"{site.url}/#{made}")
    site.worker.announce(make_spec(weight_hash="fedcba9876543210"))
    button = page.get_by_role("button", name="Reproduce")
    button.click()
    expect(page.locator("#refusal")).to_contain_text("has fedcba9876543210 now: other frames would come out")
    expect(button).to_be_enabled()
    assert page.url.endswith(made)
