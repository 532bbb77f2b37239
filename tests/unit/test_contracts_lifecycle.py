"""The state table is whole, and the scripts are given exactly this table."""

import re
from importlib.resources import files

import pytest

from service.contracts.failure import FailureCode
from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import TABLE, TERMINAL, TRANSITIONS, State
from service.store.script import SHARED, Library

SCRIPTS = sorted(
    path.name.removesuffix(".lua")
    for path in (files("service.store") / "lua").iterdir()
    if path.name.endswith(".lua") and path.name.removesuffix(".lua") not in SHARED
)
LIBRARY = Library()


def test_every_state_has_a_row_and_knows_what_may_follow():
    assert set(TABLE) == set(TRANSITIONS) == set(State)
    assert {state for following in TRANSITIONS.values() for state in following} <= set(State)


def test_every_state_but_the_first_can_be_reached():
    assert set(State) == {State.QUEUED}.union(*TRANSITIONS.values())


def test_terminal_states_are_those_that_openai_calls_ended():
    assert {state for state in State if TABLE[state].openai_status in ("completed", "failed")} == TERMINAL


def test_error_codes_of_states_are_failure_codes():
    codes = {row.error_code for row in TABLE.values() if row.error_code}
    assert codes == {FailureCode.CANCELLED, FailureCode.EXPIRED}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_begins_with_its_flags_and_carries_tables_and_clock(name):
    source = LIBRARY.script(name).source
    assert source.startswith("#!lua")
    assert source.count("#!lua") == 1
    assert "queued = {cancelled = true, expired = true, running = true}" in source
    assert "redis.call('TIME')" in source


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_only_keys_that_exist(name):
    used = set(re.findall(r"KEY\.([A-Z_]+)", LIBRARY.script(name).source))
    assert used <= set(REDIS_KEYS)


ALWAYS = {"beat", "note", "finish", "release", "cancel", "reap", "delete", "purge"}


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_what_lets_work_end_runs_even_when_memory_is_full(name):
    assert LIBRARY.script(name).source.startswith("#!lua flags=allow-oom\n")


def test_what_takes_on_work_does_not():
    assert LIBRARY.script("submit").source.startswith("#!lua\n")


def test_another_clock_is_another_script():
    assert Library(clock="local function now() return 1 end").script("get") != LIBRARY.script("get")


def test_an_unknown_script_is_named():
    with pytest.raises(FileNotFoundError, match=r"no_such\.lua"):
        LIBRARY.script("no_such")
