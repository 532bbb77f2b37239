"""What a log line carries, and what it never carries."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from service.logs import LogFormat, bound, configure_logs, get_logger
from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from worker.host.settings import HostSettings
from worker.settings import WorkerSettings

SETTINGS = (GatewaySettings, NotifierSettings, WorkerSettings, HostSettings)


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level, ours = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers = before
    root.setLevel(level)
    structlog.configure(**ours)


def lines(log_format: LogFormat, stream: io.StringIO) -> None:
    configure_logs(log_format, "info", process="gateway", stream=stream)
    with bound(request_id="req_1"):
        get_logger("service.test").info("job_accepted", job_id="video_1", prompt="a red circle")
        logging.getLogger("foreign").warning("from %s", "a library")


def test_json_lines_carry_the_facts_and_never_the_prompt() -> None:
    stream = io.StringIO()
    lines("json", stream)
    ours, foreign = (json.loads(line) for line in stream.getvalue().splitlines())
    assert ours["event"] == "job_accepted"
    assert ours["job_id"] == "video_1"
    assert ours["request_id"] == foreign["request_id"] == "req_1"
    assert ours["process"] == foreign["process"] == "gateway"
    assert foreign["event"] == "from a library"
    assert foreign["level"] == "warning"
    assert "red circle" not in stream.getvalue()


def test_human_lines_are_readable_and_never_carry_the_prompt() -> None:
    stream = io.StringIO()
    lines("human", stream)
    assert "job_accepted" in stream.getvalue()
    assert "video_1" in stream.getvalue()
    assert "red circle" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_left_alone_a_terminal_gets_text_and_everything_else_json() -> None:
    person, machine = Terminal(), io.StringIO()
    lines("auto", person)
    lines("auto", machine)
    assert "job_accepted" in person.getvalue()
    assert not any(line.startswith("{") for line in person.getvalue().splitlines())
    assert all(json.loads(line) for line in machine.getvalue().splitlines())
    assert {kind.model_fields["log_format"].default for kind in SETTINGS} == {"auto"}


def test_an_exception_is_written_as_one_json_line() -> None:
    stream = io.StringIO()
    configure_logs("json", "INFO", process="gateway", stream=stream)
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger("service.test").exception("request_failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logs("json", "loud", process="gateway")


def test_a_human_traceback_shows_no_local_variables() -> None:
    stream = io.StringIO()
    configure_logs("human", "INFO", process="gateway", stream=stream)

    def render(prompt: str) -> None:
        raise ValueError(f"broken after {len(prompt)} characters")

    try:
        render("a " + "red circle")
    except ValueError:
        get_logger("service.test").exception("request_failed")
    assert "ValueError: broken after 12 characters" in stream.getvalue()
    assert "a red circle" not in stream.getvalue()


def test_a_stream_that_takes_no_more_is_no_fault_of_whoever_logs(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError("no space left")

    configure_logs("json", "INFO", process="gateway", stream=Full())
    get_logger("service.test").info("job_accepted")
    assert "no space left" in capsys.readouterr().err


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure_logs("json", "WARNING", process="gateway", stream=stream)
    get_logger("service.test").info("job_accepted")
    logging.getLogger("foreign").info("from a library")
    assert stream.getvalue() == ""
