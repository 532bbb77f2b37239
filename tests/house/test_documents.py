"""Documents are held to the code: settings and defaults, links, and words that do not belong here."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from rig.configuration_page import PAGE, ROW, written

from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from service.stack.settings import StackSettings
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from service.tracing import TraceSettings
from worker.host.settings import HostSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
SETTINGS = (
    GatewaySettings,
    NotifierSettings,
    RedisSettings,
    TraceSettings,
    StackSettings,
    StorageSettings,
    WorkerSettings,
    HostSettings,
)
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def _variables(settings: type[BaseSettings]) -> Iterator[tuple[str, Any]]:
    """Each variable that the class reads, and its default (PydanticUndefined: required or computed)."""
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        prefix = settings.model_config["env_prefix"]
        yield (alias if isinstance(alias, str) else prefix + name.upper()), field.default


def _documented() -> dict[str, str]:
    """Default as written, by variable."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \|", (ROOT / "docs/configuration.md").read_text(), re.M)
    return dict(rows)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_is_documented_with_its_default(settings):
    documented = _documented()
    for variable, default in _variables(settings):
        assert variable in documented, f"{variable} of {settings.__name__} is not in docs/configuration.md"
        said = documented[variable].strip("`")
        if default is PydanticUndefined:
            assert said in ("required", "the shipped `models/micro")
        elif default is None or default == "":
            assert said in ("unset", "empty", "made once", "required"), variable
        elif isinstance(default, tuple):
            assert tuple(map(float, said.strip("[]").split(","))) == default
        elif isinstance(default, bool):
            assert said == str(default).lower()
        elif isinstance(default, int | float):
            assert float(said) == float(default), variable
        else:
            assert said == str(default), variable


def test_no_variable_is_read_past_the_settings_that_are_documented():
    sources = {
        str(file.relative_to(ROOT)): file.read_text()
        for folder in ("service", "worker", "models")
        for file in (ROOT / folder).rglob("*.py")
    }
    kinds = {
        kind for text in sources.values() for kind in re.findall(r"^class (\w+)\(BaseSettings\)", text, re.M)
    }
    assert kinds == {kind.__name__ for kind in SETTINGS}
    reading = {
        name
        for name, text in sources.items()
        if re.search(r"\bos\.environ\b|\bgetenv\b|import environ", text)
    }
    # What children get of ours: none of it is looked at.
    assert reading == {"service/stack/settings.py", "worker/host/settings.py"}


def test_the_tables_of_settings_are_as_the_code_writes_them():
    page = PAGE.read_text()
    assert written(page) == page, "PYTHONPATH=.:tests python -m rig.configuration_page"
    assert all(meaning.strip() for _, meaning in ROW.findall(page))


def test_a_new_setting_gets_a_row_and_a_wrong_bound_its_own_again():
    page = PAGE.read_text()
    row = next(line for line in page.splitlines(keepends=True) if "`MICROCINEMA_MAX_BATCH`" in line)
    without = page.replace(row, "").replace("whole number, 1 to 65535", "whole number")
    again = written(without)
    assert "| `MICROCINEMA_PORT` | `8000` | whole number, 1 to 65535 |" in again
    assert (
        "| `MICROCINEMA_MAX_BATCH` | `1` | whole number, 1 to 64 | Jobs of one compat key that may share "
    ) in again


def test_no_documented_variable_is_an_invention():
    real = {variable for settings in SETTINGS for variable, _ in _variables(settings)}
    assert set(_documented()) == real


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/env.example", "Dockerfile.cuda", "README.md"])
def test_no_file_sets_a_variable_that_nobody_reads(name):
    real = {variable for settings in SETTINGS for variable, _ in _variables(settings)}
    assert set(re.findall(r"\bMICROCINEMA_[A-Z0-9_]+", (ROOT / name).read_text())) <= real


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_is_listed():
    pages = {page.name for page in (ROOT / "docs/adr").glob("0*.md")}
    listed = set(re.findall(r"\]\((0\d{3}-[a-z-]+\.md)\)", (ROOT / "docs/adr/README.md").read_text()))
    assert pages == listed


def test_every_make_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z][a-z-]*)", page.read_text()))
        assert named <= targets, page.name


#: Of others' software, named for whoever has it.
FOREIGN = {"kubelet_volume_stats_available_bytes", "node_filesystem_avail_bytes"}


@pytest.mark.parametrize("name", ["operations", "runbook", "security", "limits", "moderation", "kubernetes"])
def test_whoever_looks_for_a_name_of_the_operators_pages_finds_it(name):
    """Lines of logs, metrics and codes in backticks: in the code, as they stand or as a worker's event."""
    code = "".join(
        file.read_text()
        for folder in ("service", "worker", "models", "deploy")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".py", ".lua", ".yml", ".yaml"}
    )
    metrics = (ROOT / "docs/metrics.md").read_text()  # made of the code, which composes some of their names
    known = set(re.findall(r"[a-z]+(?:_[a-z0-9]+)+", code + metrics)) | FOREIGN
    known |= {_snake(kind) for kind in re.findall(r"^class ([A-Z]\w+)", code, re.M)}
    named = re.findall(r"`([a-z]+(?:_[a-z]+)+)`", (ROOT / f"docs/{name}.md").read_text())
    assert set(named) <= known


def _snake(kind: str) -> str:
    """How worker/logbook.py names the line of an event."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
