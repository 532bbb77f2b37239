"""The operator's commands as a person meets them; what they do to the record is in tests/contract."""

import pytest

from service.cli.main import main
from service.cli.operator import readiness_lines


def test_status_names_what_is_closed_and_who_drains():
    parts = {
        "paused": {
            "pool:default": {"reason": "new cards", "since": 1_700_000_000},
            "intake": {"reason": "night", "since": 1_700_000_000},
        },
        "draining_workers": {"default": 1, "large": 2},
    }
    assert readiness_lines(parts) == [
        "intake is PAUSED since 2023-11-14 22:13:20Z: night",
        "pool default is PAUSED since 2023-11-14 22:13:20Z: new cards",
        "pool default: 1 worker draining",
        "pool large: 2 workers draining",
    ]
    assert readiness_lines({"status": "ready", "parts": {}}) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause", "intake"],  # a pause has a reason
        ["pause", "everything", "--reason", "x"],
        ["worker"],
        ["tenant", "set"],
        ["tenant", "set", "a", "--running-cap", "many"],
    ],
)
def test_wrong_usage_of_an_operators_command_is_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: microcinema" in capsys.readouterr().err
