"""Which GPUs get a worker: what was asked for, held against what `nvidia-smi -L` lists."""

import os

import pytest

from worker.host.devices import NoSuchDevice, devices_for, nvidia_devices, read_listing

LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5a5b4d9e-1111-2222-3333-444455556666)
  MIG 1g.5gb      Device  0: (UUID: MIG-0b1c2d3e-aaaa-bbbb-cccc-ddddeeeeffff)
  MIG 3g.20gb     Device  1: (UUID: MIG-1b1c2d3e-aaaa-bbbb-cccc-ddddeeeeffff)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-6a5b4d9e-1111-2222-3333-444455556666)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-7a5b4d9e-1111-2222-3333-444455556666)
"""
PARTS = ("MIG-0b1c2d3e-aaaa-bbbb-cccc-ddddeeeeffff", "MIG-1b1c2d3e-aaaa-bbbb-cccc-ddddeeeeffff")


def listed():
    return read_listing(LISTING)


def cannot_list():
    raise NoSuchDevice("--gpus all: nvidia-smi cannot be asked")


@pytest.mark.parametrize(
    ("asked", "visible", "devices"),
    [
        ("all", "", (*PARTS, "1", "2")),  # a divided GPU by its parts
        ("all", "2, 1", ("2", "1")),  # somebody has chosen already
        ("all", "1,-1,2", ("1",)),  # as CUDA reads it: up to the first that is none
        ("2,1", "", ("2", "1")),
        ("GPU-6a5b4d9e-1111-2222-3333-444455556666", "", ("1",)),
        (PARTS[1], "", (PARTS[1],)),
        ("1", "1,2", ("1",)),
    ],
)
def test_what_is_asked_for_is_found(asked, visible, devices):
    assert devices_for(asked, visible, listed) == devices


@pytest.mark.parametrize(
    ("asked", "visible", "sentence"),
    [
        ("all", "-1", "--gpus all: no GPU is visible to this process"),
        ("", "", "--gpus '': '' must be a device"),
        ("0,", "", "--gpus '0,': '' must be a device"),
        ("gpu0", "", "'gpu0' must be a device as `nvidia-smi -L` names it"),
        ("1,7", "", "--gpus '1,7': no device 7 here; there is: MIG-0b1c"),
        ("0", "", "no device 0 here"),  # divided: it cannot be used as a whole
        ("0", "1,2", "--gpus '0': no device 0 here; there is: 1, 2"),
        ("2,1,2", "", "--gpus '2,1,2': 2 is named twice; one process, one GPU"),
        ("1,GPU-6a5b4d9e-1111-2222-3333-444455556666", "", "1 is named twice"),
    ],
)
def test_what_is_not_there_is_refused_by_a_sentence(asked, visible, sentence):
    with pytest.raises(NoSuchDevice) as caught:
        devices_for(asked, visible, listed)
    assert sentence in str(caught.value)


def test_where_nothing_can_be_listed_names_are_taken_as_they_are_and_all_is_refused():
    assert devices_for("0,2", "", cannot_list) == ("0", "2")
    with pytest.raises(NoSuchDevice, match="cannot be asked"):
        devices_for("all", "", cannot_list)
    with pytest.raises(NoSuchDevice, match="named twice"):
        devices_for("0,0", "", cannot_list)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (f"cat <<'END'\n{LISTING}END\n", "MIG"),
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9\n", "nvidia-smi -L ended with 9: NVIDIA-SMI has failed"),
        (None, "nvidia-smi cannot be asked for the GPUs"),
    ],
)
def test_nvidia_smi_is_asked(monkeypatch, tmp_path, script, outcome):
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if script else str(tmp_path) + os.sep + "nowhere")
    try:
        said = repr(nvidia_devices())
    except NoSuchDevice as error:
        said = str(error)
    assert outcome in said
