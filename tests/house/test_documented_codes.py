"""Every word that a client's program may go by is documented: codes of errors, types of events."""

import re
from collections.abc import Iterator
from itertools import chain

from rig.errors_page import PAGE, page, refusals
from rig.processes import ROOT

from service.broadcast import PREVIEW_TYPE
from service.contracts.failure import FailureCode
from service.contracts.lifecycle import PROGRESS_TYPE, TABLE, State
from service.contracts.webhook_endpoint import DISABLED_TYPE, EVENT_TYPES

API = (ROOT / "docs/api.md").read_text()
#: Kinds of objects and names of files that look like types of events.
NOT_EVENTS = {"video.estimate", "video.deleted", "webhook_endpoint.deleted", "video.mp4"}
STREAM, REQUEST, ENDPOINTS = 2, 3, 4


def rows(head: str) -> Iterator[list[str]]:
    """Cells of the rows of the table of docs/api.md with this head."""
    _, found = API.split(f"\n{head}\n", 1)
    for line in found.splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def literals() -> set[str]:
    """What stands in quotes in the service's code or its scripts and could be a type of event."""
    files = chain((ROOT / "service").rglob("*.py"), (ROOT / "service").rglob("*.lua"))
    found: set[str] = set()
    for file in files:
        found |= set(re.findall(r"""["']((?:video|webhook_endpoint)\.[a-z_0-9]+)["']""", file.read_text()))
    return found - NOT_EVENTS


def events() -> dict[str, list[str]]:
    head = "| event | tells | stream | `webhook_url` | [endpoints](#webhook-endpoints) |"
    return {cells[0].strip("`"): cells for cells in rows(head)}


def test_the_page_of_error_codes_is_what_the_code_can_answer() -> None:
    assert PAGE.read_text() == page(), "PYTHONPATH=.:tests python -m rig.errors_page writes it anew"
    kinds = list(refusals())
    assert len({kind.code for kind in kinds}) == len(kinds), "one code, one meaning"
    assert len(kinds) > 30


def test_every_code_of_a_failure_has_a_meaning() -> None:
    told = {code.strip("`"): meaning for code, meaning in rows("| code | meaning |")}
    assert set(told) == {code.value for code in FailureCode}
    assert all(told.values())


def test_every_type_of_event_is_told_and_nothing_else() -> None:
    assert set(events()) - {"reset"} == literals()
    assert all(cells[1] for cells in events().values())


def test_where_an_event_is_told_is_where_it_goes() -> None:
    states = {row.webhook_type for row in TABLE.values()}
    told = events()
    assert {kind for kind, cells in told.items() if cells[STREAM]} == {
        *states,
        PROGRESS_TYPE,
        PREVIEW_TYPE,
        "reset",
    }
    assert {kind for kind, cells in told.items() if cells[ENDPOINTS] == "yes"} == set(EVENT_TYPES)
    heard = {row.webhook_type for state, row in TABLE.items() if state is not State.QUEUED}
    assert {kind for kind, cells in told.items() if cells[REQUEST]} == heard
    assert DISABLED_TYPE in told
