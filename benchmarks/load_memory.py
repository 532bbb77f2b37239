"""How much host memory does loading take, beside the weights themselves?

    python -m benchmarks.load_memory --megabytes 500 --stored fp16

Writes a MicroCinema folder of about that size with random weights, loads it in a fresh process through the
production path, and prints the peak beside what the networks hold. Linux only: it reads /proc/self.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

LIMIT = 1.2
STORED = ("fp16", "fp32")


@dataclass(frozen=True)
class LoadMemory:
    """Bytes. `peak`: the highest resident size of the load above what the process had after its imports."""

    weights: int
    peak: int

    @property
    def ratio(self) -> float:
        return self.peak / self.weights


def write_model(folder: Path, megabytes: int, stored: str) -> None:
    """A model whose networks hold about `megabytes` * 1e6 bytes once they are float32."""
    import torch

    from models.nano import write_nano
    from models.spec import NANO
    from models.weights import load_parts, save_parts

    # 199 MB at width 96, and the number of weights grows with the square of the width
    width = max(16, round(96 * (megabytes / 199) ** 0.5 / 16) * 16)
    unet = replace(NANO.unet, channels=(width, 4 * width), heads=(4, 8), norm_groups=8, text_width=256)
    write_nano(folder, spec=replace(NANO, unet=unet))
    if stored == "fp16":
        parts = load_parts(folder, torch.device("cpu"), torch.float32)
        save_parts(folder, parts, torch.float16)


def measure(folder: Path) -> LoadMemory:
    """Load `folder` in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load_memory", "--load", str(folder)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return LoadMemory(**json.loads(done.stdout.splitlines()[-1]))


def load_and_look(folder: Path) -> LoadMemory:
    """In this process: the imports come first, so that only the load is counted."""
    import torch

    from models.weights import load_parts

    _import_the_rest(folder)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    parts = load_parts(folder, torch.device("cpu"), torch.float32)
    networks = (parts.main, parts.appearnet, parts.vae, parts.text_encoder)
    held = {w.data_ptr(): w.nbytes for net in networks for w in net.state_dict().values()}
    return LoadMemory(weights=sum(held.values()), peak=_resident("VmHWM") - before)


def _import_the_rest(folder: Path) -> None:
    """What the libraries import only when they are first used."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    CLIPTokenizer.from_pretrained(folder / "tokenizer")
    CLIPTextModel(CLIPTextConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1))


def _resident(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, f"/proc/self/status has no {name}"
    return int(found.group(1)) * 1024


def main() -> int:
    """Command line; exit code 1 when the peak is over the limit."""
    parser = argparse.ArgumentParser(description="Measure the peak host memory of loading a model.")
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--stored", choices=STORED, default="fp16")
    parser.add_argument("--load", type=Path, help="measure this folder inside this process")
    chosen = parser.parse_args()
    if chosen.load is not None:
        print(json.dumps(vars(load_and_look(chosen.load))))
        return 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        write_model(folder, chosen.megabytes, chosen.stored)
        seen = measure(folder)
    print(
        f"stored as {chosen.stored}, loaded as fp32: weights {seen.weights / 1e6:.0f} MB, peak "
        f"{seen.peak / 1e6:.0f} MB, ratio {seen.ratio:.3f} (limit {LIMIT})"
    )
    return int(seen.ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
