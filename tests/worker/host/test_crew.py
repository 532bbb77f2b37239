"""The workers of a host: what each is told, what its lines look like, and what their ends mean."""

import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service.supervision.supervisor import RestartPolicy
from worker.host.crew import crew_for, exit_code
from worker.host.devices import NoSuchDevice
from worker.host.labelled import labelled
from worker.host.settings import HostSettings
from worker.host.whole import Whole, says_ready
from worker.watchdog import Pulse


@pytest.fixture
def settings(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "MICROCINEMA_DEVICE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return HostSettings(probe_port=9100, stop_grace_s=90)


def test_each_worker_has_a_gpu_a_name_and_a_port_of_its_own(settings):
    crew = crew_for(["0", "2", "MIG-ab"], settings)
    assert [child.name for child in crew.children] == ["gpu0", "gpu2", "MIG-ab"]
    told = [child.environment for child in crew.children]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in told] == ["0", "2", "MIG-ab"]
    assert [each["MICROCINEMA_PROBE_PORT"] for each in told] == ["9101", "9102", "9103"]
    assert {each["CUDA_DEVICE_ORDER"] for each in told} == {"PCI_BUS_ID"}
    assert {each["MICROCINEMA_DEVICE"] for each in told} == {"cuda"}
    assert int(told[0]["OMP_NUM_THREADS"]) == max(1, (os.cpu_count() or 1) // 3)
    assert {each["MICROCINEMA_LOG_FORMAT"] for each in told} == {"json"}, "what auto means here, for all"
    assert crew.probes["gpu2"] == "http://127.0.0.1:9102"
    assert [(child.insist_s, child.grace_s) for child in crew.children] == [(90, 150)] * 3


def test_what_was_set_by_hand_is_respected_but_for_what_parts_the_workers(settings, monkeypatch):
    monkeypatch.setenv("MICROCINEMA_DEVICE", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    told = crew_for(["2"], settings).children[0].environment
    assert (told["MICROCINEMA_DEVICE"], told["CUDA_VISIBLE_DEVICES"]) == ("cpu", "2")


def test_ports_are_free_ones_where_none_is_named_and_refused_where_there_are_none(settings):
    ports = [
        child.environment["MICROCINEMA_PROBE_PORT"]
        for child in crew_for(["0", "1"], HostSettings(probe_port=0)).children
    ]
    assert len(set(ports)) == 2
    assert "0" not in ports
    with pytest.raises(NoSuchDevice, match=r"MICROCINEMA_PROBE_PORT=65534 .* must be at most 65533"):
        crew_for(["0", "1"], HostSettings(probe_port=65_534))


@pytest.mark.parametrize(
    ("endings", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 71], 71),
        ([70, 0, 71, 0], 71),
        ([78, 78], 78),
        ([71, 78], 71),  # 78 would say that another start will not help
        ([0, 78], 78),
        ([-9, 0], 137),
    ],
)
def test_the_whole_ends_with_the_code_of_a_worker_that_did_not_end_well(endings, code):
    assert exit_code(endings) == code


def test_lines_stay_json_and_carry_their_place():
    out = io.StringIO()
    show = labelled(out, "json")
    show("gpu0", '{"event": "job_claimed", "place": 3, "prompt_words": "é"}')
    show("gpu2", "Traceback (most recent call last):")
    show("gpu2", "[1]")
    first, second, third = map(json.loads, out.getvalue().splitlines())
    assert first == {"event": "job_claimed", "prompt_words": "é", "place": "gpu0"}
    assert second == {"event": "Traceback (most recent call last):", "process": "worker", "place": "gpu2"}
    assert third["event"] == "[1]"
    people = io.StringIO()
    labelled(people, "human")("gpu0", "warm")
    assert people.getvalue() == "gpu0   | warm\n"


def test_the_whole_is_ready_when_each_is_and_alive_while_it_is_looked_after(answering):
    clock = [0.0]
    pulse = Pulse(lambda: clock[0])
    urls = {"gpu0": answering(200), "gpu1": answering(503), "gpu2": "http://127.0.0.1:9"}
    whole = Whole(urls, pulse)
    assert whole.ready() == {"gpu0": True, "gpu1": False, "gpu2": False}
    assert whole.live() == {"supervising": True}
    clock[0] = 1000.0
    assert whole.live() == {"supervising": False}
    assert not says_ready(answering(None))  # whoever speaks there, it is not HTTP


FALLS = RestartPolicy(first_s=0.05, falls_allowed=2, others_go_on=True)


def test_one_that_falls_again_and_again_is_given_up_and_the_others_go_on(settings, run_crew, tmp_path):
    ended = tmp_path / "the other may end"
    waits = (
        f"import os, time\nwhile not os.path.exists({str(ended)!r}): time.sleep(0.05)\nraise SystemExit(70)"
    )
    with run_crew({"gpu0": "raise SystemExit(71)", "gpu1": waits}, FALLS) as running:
        running.sees("gpu0 fell 3 times in a row (last: exit code 71); given up, the others go on")
        ended.touch()
        assert running.code() == 70
    lines = [json.loads(line) for line in running.log().splitlines()]
    said = [line for line in lines if line["event"] == "crash_loop"]
    assert [line["problem"] for line in said] == ["gpu1 fell 3 times in a row (last: exit code 70)"]
    assert (said[0]["endings"], said[0]["code"]) == ({"gpu0": 71, "gpu1": 70}, 70)
    assert {line.get("process") for line in lines} == {"supervisor"}


def test_unusable_settings_of_all_end_the_whole_at_once_with_78(run_crew):
    typo = "raise SystemExit(78)"
    with run_crew({"gpu0": typo, "gpu1": typo}, RestartPolicy(others_go_on=True)) as running:
        assert running.code() == os.EX_CONFIG
    assert "next start" not in running.log()


DRAINS = """
import os, signal, time, sys
def told(*_):
    os.write(1, b"told\\n")  # print() may be what the signal breaks into
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGTERM, told); os.write(1, b"armed\\n")
while 1: time.sleep(0.1)
"""


def test_a_signal_is_passed_on_once_and_again_past_the_grace(run_crew):
    with run_crew({"gpu0": DRAINS, "gpu1": DRAINS}, FALLS, insist_s=1.0) as running:
        running.sees("armed", times=2)
        running.terminate()
        assert running.code() == 0
    assert running.log().count('"event":"told"') == 2


LEAVES_SOMEBODY = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:  # nobody's child but the supervisor's, as soon as its parent is gone
        os.setsid(); time.sleep(0.3); os._exit(0)
    os._exit(0)
os.wait(); print("armed", flush=True); time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_orphans_are_taken_in_and_reaped(run_crew):
    with run_crew({"gpu0": LEAVES_SOMEBODY}, FALLS) as running:
        running.sees("armed")
        running.until(lambda: running.children() == ["S"], "one child, no zombie")
        running.terminate()
        assert running.code() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_what_an_ended_worker_leaves_in_its_group_is_ended_too(run_crew, tmp_path):
    left = tmp_path / "left"
    code = f"""
import os, time
if os.fork() == 0: time.sleep(600)
open({str(left)!r}, "a").write(str(os.getpid()) + "\\n"); raise SystemExit(1)
"""
    with run_crew({"gpu0": code}, replace(FALLS, falls_allowed=0)) as running:
        assert running.code() == 1
    group = left.read_text().split()[0]
    members = [stat for stat in Path("/proc").glob("[0-9]*/stat") if _group(stat) == group]
    assert not members


def _group(stat: Path) -> str:
    """The process group of what runs; a zombie does not."""
    try:
        state, _, group = stat.read_text().rsplit(")", 1)[1].split()[:3]
    except OSError:
        return ""
    return "" if state == "Z" else group
