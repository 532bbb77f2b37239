"""The playground in a real, headless Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"]
SECONDS = 1000
#: Where the pictures of docs/ come from: MICROCINEMA_SCREENSHOTS=folder keeps what the tests see.
KEPT = os.environ.get("MICROCINEMA_SCREENSHOTS")

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Skips where there is none, but for CI. It is left before another module's tests run an event loop."""
    if CHROMIUM is None:
        sentence = "THE PLAYGROUND IS NOT TESTED: no chromium here, `make setup-system` installs it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of a service. Their scripts may make no error and ask no other machine."""
    wrong: list[str] = []
    contexts = []

    def open_it(url: str, **options: Any) -> Page:
        def foreign(address: str) -> None:
            if not address.startswith("http://127.0.0.1:"):
                wrong.append(address)

        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60 * SECONDS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: foreign(asked.url))
        page.goto(url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def keep(page: Page, name: str) -> None:
    """A picture of the whole page, if pictures are wanted."""
    if KEPT:
        Path(KEPT).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{KEPT}/{name}.png", full_page=True)


def has_pixels(page: Page, selector: str) -> None:
    """The picture or film is really there, and has a size."""
    page.wait_for_function(
        "s => { const e = document.querySelector(s); return e && (e.videoWidth || e.naturalWidth) > 0 }",
        arg=selector,
    )


def fits(page: Page) -> bool:
    """Whether nothing of the page lies beside the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
