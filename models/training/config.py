"""Reading one toml file into the frozen dataclasses of one script."""

import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a config file."""
    with path.open("rb") as file:
        return tomllib.load(file)


def table(path: Path, name: str, kind: type[T]) -> T:
    """Table `name` of the file as `kind`; unknown and missing keys are errors that name them."""
    tables = read_tables(path)
    if name not in tables:
        raise ValueError(f"{path.name} has no [{name}] table")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in tables[name].items()}
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    missing = sorted(
        key
        for key, field in known.items()
        if key not in values and field.default is MISSING and field.default_factory is MISSING
    )
    if unknown or missing:
        raise ValueError(f"{path.name} [{name}]: unknown keys {unknown}, missing keys {missing}")
    return kind(**values)
