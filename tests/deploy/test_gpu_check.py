"""`make gpu-check` without a GPU: what can be asked is answered, the rest is SKIP, never PASS."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from benchmarks.gpu_check import full_size
from benchmarks.gpu_check.__main__ import main, run
from benchmarks.gpu_check.bench import Bench, Outcome
from benchmarks.gpu_check.gates import GATES, step_figures
from models.nano import write_nano
from models.spec import NANO


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    write_nano(folder)
    return folder


@pytest.fixture
def bench(weights):
    return Bench(torch.device("cpu"), weights, NANO, runs=1, warm_ups=0)


def test_all_gates_answer_and_the_report_is_written(weights, tmp_path, capsys):
    report = tmp_path / "gpu-check.json"
    code = main(["--device", "cpu", "--runs", "1", "--weights", str(weights), "--json", str(report)])
    found = json.loads(report.read_text())
    gates = {one["gate"]: one for one in found["gates"]}
    assert list(gates) == [f"G{number}" for number in range(1, 12)]
    assert len(GATES) == 11
    skipped = {"G2", "G4", "G5", "G8", "G9", "G11"}
    assert {name for name, one in gates.items() if one["verdict"] == "SKIP"} == skipped
    assert all(gates[name]["why"] for name in skipped)
    assert gates["G1"]["figures"]["gemm_tflops"] > 0
    assert gates["G6"]["figures"]["not_finite"] == 0
    spent = gates["G3"]["figures"]
    assert min(spent[f"{stage}_s"] for stage in ("text_to_image", "image_to_video", "decode", "encode")) > 0
    assert found["machine"]["card"] == "cpu"
    # Timings of a busy machine decide nothing here: only that a failed gate, and no other, makes it 1.
    assert code == int(any(one["verdict"] == "FAIL" for one in found["gates"]))
    assert capsys.readouterr().out.count("SKIP") == 6


def test_a_gate_that_breaks_has_failed_and_the_next_is_asked(bench):
    def breaks(_: Bench) -> Outcome:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    first, second = run(bench, (breaks, GATES[8]))
    assert (first.gate, first.verdict) == ("G1", "FAIL")
    assert "illegal memory access" in first.why
    assert second.gate == "G9"


def test_a_step_of_the_network_is_timed_and_its_work_counted(bench):
    figures = step_figures(replace(bench, runs=2), NANO, (8,))
    assert figures["ms_64px"] > 0
    assert figures["tflops_64px"] > 0


def test_a_whole_model_is_written_loaded_and_filmed_at_two_sizes(bench, tmp_path, monkeypatch):
    """Full size needs a GPU; the same way with small networks does not."""
    monkeypatch.setitem(full_size.AUTOENCODER, "block_out_channels", (32, 32, 32, 32))
    for name, value in {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}.items():
        monkeypatch.setitem(full_size.TEXT, name, value)
    spec = replace(NANO, vae_factor=8, sizes=((64, 64), (128, 128)))
    full_size.write_full_size(tmp_path, spec, bench.device)
    figures = full_size.film_figures(replace(bench, full=spec), tmp_path)
    stages = [f"{stage}_{side}px_s" for stage in ("picture", "video", "decode") for side in (64, 128)]
    assert min(figures[name] for name in (*stages, "load_s", "counted_64px_gb")) > 0
    assert figures["counted_128px_gb"] > figures["counted_64px_gb"]
