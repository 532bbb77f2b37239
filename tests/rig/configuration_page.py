"""Writes the tables of docs/configuration.md from the settings classes.

PYTHONPATH=.:tests python -m rig.configuration_page

Names, defaults, kinds and bounds are the code's. What a variable means is prose: a row keeps the words that
it has, and a new one, put behind the last of its table, begins with the comment above the field.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types as bounds
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic.networks import RedisDsn
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from rig.processes import ROOT
from service.contracts.environment import variable
from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from service.stack.settings import StackSettings
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from service.tracing import TraceSettings
from worker.host.settings import HostSettings
from worker.settings import WorkerSettings

PAGE = ROOT / "docs/configuration.md"
#: Whose new variables go into which table; one that stands in any table already stays there.
TABLES: Mapping[str, tuple[type[BaseSettings], ...]] = {
    "All processes": (RedisSettings, TraceSettings),
    "Storage (all processes)": (StorageSettings,),
    "Gateway (`python -m service.main`)": (GatewaySettings,),
    "Worker (`python -m worker.main`)": (WorkerSettings, HostSettings),
    "Notifier (`python -m service.notifier.main`)": (NotifierSettings,),
    "`microcinema up` and `demo`": (StackSettings,),
}
HEAD = "| variable | default | takes | meaning |\n|---|---|---|---|\n"
#: Defaults that are made, not written down.
MADE = {
    "MICROCINEMA_STORAGE_SECRET": "made once",
    "MICROCINEMA_WEIGHTS": "the shipped `models/micro`",
}
KINDS: Mapping[Any, str] = {
    bool: "`true`, `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    SecretStr: "secret",
    RedisDsn: "redis:// URL",
}
ROW = re.compile(r"^\| `([A-Z0-9_]+)` \|.*\| (.*?) ?\|$", re.M)

Field = tuple[type[BaseSettings], str, FieldInfo]


def every_field() -> dict[str, Field]:
    """By variable, in the order of the code; of classes that read the same one the first speaks for it."""
    found: dict[str, Field] = {}
    for kinds in TABLES.values():
        for kind in kinds:
            for name, field in kind.model_fields.items():
                found.setdefault(variable(kind, name), (kind, name, field))
    return found


def written(page: str) -> str:
    """The page with its tables as they ought to be. KeyError: a section of TABLES is not in it."""
    fields = every_field()
    meanings = {name: meaning for name, meaning in ROW.findall(page) if name in fields}
    for title, kinds in TABLES.items():
        begin = page.index(f"\n## {title}\n")
        table = re.compile(r"^\| variable \|.*?(?=^(?!\|)|\Z)", re.M | re.S).search(page, begin)
        if table is None:
            raise KeyError(title)
        names = [name for name, _ in ROW.findall(table[0]) if name in fields]
        names += [name for name in fields if name not in meanings and fields[name][0] in kinds]
        rows = "".join(row(name, fields[name], meanings.get(name)) for name in names)
        page = page[: table.start()] + HEAD + rows + page[table.end() :]
    return page


def row(name: str, field: Field, meaning: str | None) -> str:
    """A line of a table."""
    kind, attribute, declared = field
    said = comment(kind, attribute) if meaning is None else meaning
    return f"| `{name}` | {default(name, declared)} | {takes(declared)} | {said} |\n"


def default(name: str, field: FieldInfo) -> str:
    """As the page has it: `10`, unset, empty, required."""
    if name in MADE:
        return MADE[name]
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "unset"
    if value == "" and isinstance(value, str):
        return "empty" if field.validation_alias is None or name == "S3_BUCKET" else "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f"{each:g}" for each in value) + "]`"
    return f"`{value}`"


def takes(field: FieldInfo) -> str:
    """What kind of value, within which bounds."""
    return ", ".join([_kind(field.annotation), *_bounds(field)])


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _kind(next(each for each in get_args(annotation) if each is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (dict, tuple):
        return "JSON"
    return KINDS[annotation]


def _bounds(field: FieldInfo) -> Iterator[str]:
    least: str | None = None
    most: str | None = None
    for rule in field.metadata:
        match rule:
            case bounds.Ge(ge=value):
                least = f"{value}"
            case bounds.Gt(gt=value):
                least = f"over {value}"
            case bounds.Le(le=value):
                most = f"{value:.15g}" if isinstance(value, float) else f"{value}"
            case bounds.MinLen(min_length=value):
                yield f"at least {value} characters"
            case _ if getattr(rule, "pattern", None):
                yield f"as `{rule.pattern}`"
    if least is not None and most is not None:
        yield f"{least} to {most}"
    elif least is not None:
        yield least if least.startswith("over") else f"at least {least}"
    elif most is not None:
        yield f"at most {most}"


def comment(kind: type[BaseSettings], attribute: str) -> str:
    """The `#:` lines above a field, as one sentence; "" if it has none."""
    lines = inspect.getsource(kind).splitlines()
    at = next(number for number, line in enumerate(lines) if re.match(rf"    {attribute}\b *:", line))
    said: list[str] = []
    while at and (found := re.match(r"    #: (.*)", lines[at - 1])):
        said.insert(0, found[1])
        at -= 1
    return " ".join(said).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
