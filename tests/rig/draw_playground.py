"""Draws docs/images/playground.webp: a finished video on the page, with its receipt open.

python -m rig.draw_playground
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from models.cinema import MICRO_WEIGHTS
from rig.browsing import ARGS, CHROMIUM, SECONDS, has_pixels
from rig.local_service import local_service
from rig.processes import ROOT

PROMPT = "a green star moving left on a black background"


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="microcinema-playground-") as folder,
        local_service(Path(folder), MICRO_WEIGHTS) as service,
        sync_playwright() as playwright,
    ):
        service.start_valkey()
        service.start()
        for prompt in (
            "a red circle moving right on a white background",
            "a blue ring growing on a beige background",
        ):
            service.wait_for(service.create(prompt=prompt), "succeeded")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = browser.new_page(viewport={"width": 1120, "height": 700}, color_scheme="light")
        page.goto(service.url)
        page.get_by_label("What shall the video show?").fill(PROMPT)
        page.get_by_role("button", name="Make the video").click()
        has_pixels(page, "#screen video")
        has_pixels(page, "#gallery img")
        page.locator("#receipt summary").click()
        expect(page.locator("#receipt-lines")).to_contain_text("dpm++2m", timeout=60 * SECONDS)
        page.locator("#screen video").evaluate(
            "player => { player.controls = false; player.pause(); player.currentTime = player.duration / 2 }"
        )
        page.locator("#gallery").scroll_into_view_if_needed()  # its pictures come when they are in sight
        expect(page.locator("#gallery img")).to_have_count(3)
        page.wait_for_function("() => !document.querySelector('#screen video').seeking")
        page.wait_for_function(
            "() => [...document.querySelectorAll('#gallery img')].every(each => each.naturalWidth > 0)"
        )
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        file = ROOT / "docs/images/playground.webp"
        picture.save(file, quality=80, method=6)
        print(f"{file.relative_to(ROOT)}: {picture.width}x{picture.height}, {file.stat().st_size} bytes")
        browser.close()


if __name__ == "__main__":
    main()
