"""The supervisor against real processes: order, output, restarts, crash loops and endings."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service.supervision.supervisor import RestartPolicy, Supervisor

SLEEP = "import time; print('up'); time.sleep(60)"
QUICK = RestartPolicy(first_s=0.05, longest_s=0.1, falls_allowed=2)


def test_output_keeps_its_lines_even_the_unfinished_last_one(stage, python_child, wait_until):
    code = r"import os; os.write(1, b'0 %\rone\r\ntw\xffo\n' + b'x' * 200_000 + b'\n'); os.write(1, b'end')"
    with stage.running(python_child("talker", code), policy=RestartPolicy(first_s=60)):
        wait_until(lambda: "end" in stage.lines("talker"))
    lines = stage.lines("talker")
    assert lines[0] == "one"
    assert lines[1] == "tw\ufffdo"
    assert sum(len(line) for line in lines[2:-1]) == 200_000
    assert max(map(len, lines)) <= 2 * 64 * 1024


def test_a_child_waits_for_what_it_needs_and_ready_is_announced_once(
    stage, python_child, wait_until, tmp_path
):
    gate = tmp_path / "gate"
    base = python_child("base", SLEEP, is_ready=gate.exists)
    top = python_child("top", SLEEP, needs=("base",))
    with stage.running(base, top) as supervisor:
        wait_until(lambda: "base" in supervisor.pids())
        assert not stage.ready.wait(0.4)
        assert "top" not in supervisor.pids()
        gate.touch()
        assert stage.ready.wait(60)
        assert set(supervisor.pids()) == {"base", "top"}


def test_a_killed_child_comes_back_and_the_others_stay(stage, python_child, wait_until):
    children = python_child("steady", SLEEP), python_child("victim", SLEEP)
    with stage.running(*children, policy=QUICK) as supervisor:
        assert stage.ready.wait(60)
        before = supervisor.pids()
        os.kill(before["victim"], signal.SIGKILL)
        wait_until(lambda: supervisor.pids().get("victim", before["victim"]) != before["victim"])
        assert supervisor.pids()["steady"] == before["steady"]
    assert "victim ended (SIGKILL); next start in 0.05 s" in stage.lines("supervisor")


def test_a_crash_loop_ends_everything_and_says_why(stage, python_child, wait_until):
    children = python_child("steady", SLEEP), python_child("faller", "print('oh no'); raise SystemExit(3)")
    with stage.running(*children, policy=QUICK) as supervisor:
        wait_until(lambda: supervisor.crash is not None)
        wait_until(lambda: not supervisor.pids())
    assert supervisor.crash == "faller fell 3 times in a row (last: exit code 3)"
    assert stage.lines("faller") == ["oh no"] * 3


def test_unusable_settings_are_not_tried_again(stage, python_child, wait_until):
    with stage.running(python_child("typo", "raise SystemExit(78)")) as supervisor:
        wait_until(lambda: supervisor.crash is not None)
    assert stage.lines("supervisor") == [
        "typo says that its settings are unusable (exit code 78); giving up",
    ]


def test_a_program_that_does_not_exist_is_a_fall(stage, python_child, wait_until):
    child = replace(python_child("ghost", ""), argv=("/no/such/program",))
    with stage.running(child, policy=QUICK) as supervisor:
        wait_until(lambda: supervisor.crash is not None)
    assert "ghost fell 3 times" in str(supervisor.crash)


def test_the_wait_doubles_up_to_its_bound():
    policy = RestartPolicy(first_s=0.5, longest_s=3.0)
    assert [policy.wait_s(falls) for falls in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_children_end_before_what_they_need(stage, python_child, wait_until, tmp_path):
    log = tmp_path / "ends"
    code = """
import os, pathlib, signal, time
def end(*_):
    time.sleep(0.2)
    with open({log!r}, "a") as file: file.write({name!r} + " ")
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end); print("armed")
time.sleep(60)
"""
    base = python_child("base", code.format(log=str(log), name="base"))
    top = python_child("top", code.format(log=str(log), name="top"), needs=("base",))
    with stage.running(base, top):
        wait_until(lambda: "armed" in stage.lines("top") and "armed" in stage.lines("base"))
    assert log.read_text() == "top base "


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(stage, python_child, wait_until):
    code = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no")); print("armed")
while 1: time.sleep(1)
"""
    with stage.running(python_child("mule", code, grace_s=2.0)) as supervisor:
        wait_until(lambda: "armed" in stage.lines("mule"))
        pid = supervisor.pids()["mule"]
    assert stage.lines("mule") == ["armed", "no"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


PATIENT = """
import signal, time
presses = []
def pressed(*_):
    presses.append(1); print("press", len(presses))
    if len(presses) == 2: raise SystemExit(0)
signal.signal(signal.SIGTERM, pressed); print("armed")
while 1: time.sleep(1)
"""


def test_after_a_crash_the_others_are_told_again_before_their_grace_is_over(stage, python_child, wait_until):
    patient = python_child("patient", PATIENT, is_ready=lambda: "armed" in stage.lines("patient"))
    typo = python_child("typo", "raise SystemExit(78)", needs=("patient",))
    with stage.running(patient, typo, policy=RestartPolicy(crash_patience_s=2.0)) as supervisor:
        wait_until(lambda: supervisor.crash is not None)
        wait_until(lambda: not supervisor.pids())
    assert stage.lines("patient") == ["armed", "press 1", "press 2"]


def test_a_second_stop_presses_again(stage, python_child, wait_until):
    with stage.running(python_child("patient", PATIENT)) as supervisor:
        wait_until(lambda: "armed" in stage.lines("patient"))
        supervisor.stop()
        wait_until(lambda: "press 1" in stage.lines("patient"))
    assert stage.lines("patient") == ["armed", "press 1", "press 2"]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b")])
def test_a_wrong_order_is_refused(python_child, names):
    first = python_child(names[0], SLEEP, needs=() if names[0] == names[1] else ("b",))
    second = python_child(names[1], SLEEP)
    with pytest.raises(ValueError, match="child"):
        Supervisor([first, second], show=print, on_ready=lambda: None)


SUPERVISE_ONE = """
import sys
from service.supervision.child_process import Child
from service.supervision.supervisor import Supervisor
child = Child("c", (sys.executable, "-S", "-c", "import time; time.sleep(60)"), {}, lambda: True)
supervisor = Supervisor([child], show=lambda *_: None,
    on_ready=lambda: print(supervisor.pids()["c"], flush=True))
supervisor.run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_killed_supervisor_leaves_no_orphan(wait_until):
    with subprocess.Popen([sys.executable, "-c", SUPERVISE_ONE], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        pid = int(outer.stdout.readline())
        outer.kill()
    wait_until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"  # a zombie waits for init, it does not run
