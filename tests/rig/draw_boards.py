"""Pictures of the boards for the documents: the panels' own queries, asked of a real Prometheus after a load.

python -m rig.draw_boards [--minutes 3]
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from models.cinema import MICRO_WEIGHTS
from rig.boards import panels
from rig.chart import chart, sheet
from rig.metered import Metered, metered_service
from rig.processes import ROOT
from rig.prometheus import RATE_INTERVAL

SIZE, COLUMNS = (560, 250), 2
#: Jobs at once, wave after wave: one alone, a burst, and less again.
WAVES = (1, 6, 3, 1)
PRIORITIES = (0, 0, 3, -2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with metered_service(folder, MICRO_WEIGHTS, workers=2) as service:
            load(service, 60 * minutes)
            time.sleep(5)
            draw(service, time.time())


def load(service: Metered, seconds: float) -> None:
    """Waves of videos for so long, and some requests that are refused."""
    began, wave = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        at_once = WAVES[wave % len(WAVES)]
        priority = PRIORITIES[wave % len(PRIORITIES)]
        service.render(2 * at_once, at_once, num_inference_steps=10, priority=priority)
        for _ in range(at_once):
            httpx.get(f"{service.url}/videos/video_none", trust_env=False)
        httpx.post(f"{service.url}/videos", json={"prompt": "a red circle", "fps": 999}, trust_env=False)
        wave += 1


def draw(service: Metered, ended: float) -> None:
    """One WebP per board into docs/images; panels that show one number are left to Grafana."""
    drawn: dict[str, list[Image.Image]] = {}
    for board, panel in panels():
        if panel["type"] == "timeseries":
            unit = panel["fieldConfig"]["defaults"]["unit"]
            drawn.setdefault(board, []).append(
                chart(panel["title"], unit, lines(service, panel, ended), SIZE)
            )
    for board, pictures in drawn.items():
        file = ROOT / "docs/images" / f"board_{board.split(': ')[1].replace(' ', '_').lower()}.webp"
        sheet(pictures, COLUMNS).save(file, quality=60, method=6)
        print(f"{file.relative_to(ROOT)}: {len(pictures)} panels, {file.stat().st_size} bytes")


def lines(service: Metered, panel: dict[str, Any], ended: float) -> dict[str, list[tuple[float, float]]]:
    """What Grafana would draw: a line per series, named by the panel's legend."""
    found: dict[str, list[tuple[float, float]]] = {}
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        for series in service.prometheus.over(expression, service.began, ended, 1.0):
            labels = series["metric"]
            name = re.sub(
                r"\{\{(\w+)\}\}", lambda match, of=labels: of.get(match[1], ""), target["legendFormat"]
            )
            name = re.sub(r"127\.0\.0\.1:\d+", lambda match: f"…{match[0][-3:]}", name).strip()
            found[name or panel["title"]] = [(float(at), float(value)) for at, value in series["values"]]
    return found


if __name__ == "__main__":
    main()
