"""`make gpu-check`: eleven gates on the device at hand, as a table and as JSON.

    python -m benchmarks.gpu_check [--json gpu-check.json] [--runs 10] [--device cpu]

Exit code 1 if a gate failed. What the machine cannot answer is SKIP, never PASS.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.gpu_check.bench import Bench, Outcome
from benchmarks.gpu_check.gates import GATES
from models.cinema import MICRO_WEIGHTS
from models.precision import choose_device
from models.spec import SD21


def run(bench: Bench, gates: Sequence[Callable[[Bench], Outcome]] = GATES) -> list[Outcome]:
    """Every gate in turn; one that breaks has failed, and the next is asked all the same."""
    outcomes = []
    for number, gate in enumerate(gates, 1):
        try:
            outcomes.append(gate(bench))
        except Exception as error:  # noqa: BLE001 - whatever it was, the report must be written
            outcomes.append(
                Outcome(f"G{number}", "FAIL", "runs at all", why=f"{type(error).__name__}: {error}")
            )
        print(line(outcomes[-1]), flush=True)
    return outcomes


def line(outcome: Outcome) -> str:
    """One row of the table."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.figures.items())
    said = "; ".join(filter(None, (figures, outcome.why)))
    return f"{outcome.gate:<4} {outcome.verdict:<5} {outcome.bar:<46} {said}"


def machine(bench: Bench) -> Mapping[str, str]:
    """What a figure means nothing without. No host name, no user, no path."""
    driver = torch.version.cuda or "none"
    return {
        "card": bench.card,
        "torch": torch.__version__,
        "cuda": driver,
        "python": platform.python_version(),
        "microcinema": version("microcinema"),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Eleven gates on the device at hand.")
    parser.add_argument("--json", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--runs", type=int, help="measurements of each kind: 10 on a GPU, else 3")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS)
    chosen = parser.parse_args(arguments)
    device = choose_device(chosen.device)
    runs, warm_ups = (10, 3) if device.type == "cuda" else (3, 1)
    bench = Bench(device, chosen.weights, SD21, chosen.runs or runs, warm_ups)
    facts = machine(bench)
    print(" ".join(f"{name}={value}" for name, value in facts.items()))
    outcomes = run(bench)
    report = {"machine": facts, "gates": [asdict(outcome) for outcome in outcomes]}
    chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    failed = [outcome.gate for outcome in outcomes if outcome.verdict == "FAIL"]
    print(f"{chosen.json}: " + (f"failed: {', '.join(failed)}" if failed else "no gate failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
