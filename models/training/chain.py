"""The whole chain: autoencoder, latents, tokenizer, stage 1, stage 2.

    python -m models.training.chain --config models/training/chain.toml --work var/train

Each step runs as a process of its own, goes on where it was killed, and is skipped once complete.
To train a finished step longer: raise `minutes` in its config, remove its result folder (`vae`, `stage1`,
`model`) and run the chain again; it goes on from the checkpoint. What was trained on top of a changed
step must be trained anew: remove its checkpoint as well.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from models.training.config import table


@dataclass(frozen=True)
class Chain:
    """Script modules in running order, and the config file (beside the chain's own) of each."""

    scripts: tuple[str, ...]
    configs: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.scripts) != len(self.configs):
            raise ValueError(f"scripts has {len(self.scripts)} entries, configs has {len(self.configs)}")


def run_chain(chain: Chain, folder: Path, work: Path) -> None:
    """Run every script in turn; a failing one ends the chain with its exit status."""
    work.mkdir(parents=True, exist_ok=True)
    for script, config in zip(chain.scripts, chain.configs, strict=True):
        started = time.monotonic()
        print(f"chain: {script} begins", flush=True)
        command = [sys.executable, "-m", script, "--config", str(folder / config), "--work", str(work)]
        status = subprocess.run(command, check=False).returncode
        print(
            f"chain: {script} ended with {status} after {(time.monotonic() - started) / 60:.1f} min",
            flush=True,
        )
        if status != 0:
            raise SystemExit(status)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train microcinema-micro from nothing.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("chain.toml"))
    parser.add_argument("--work", type=Path, default=Path("var/train"))
    options = parser.parse_args()
    run_chain(table(options.config, "chain", Chain), options.config.parent, options.work)


if __name__ == "__main__":
    main()
