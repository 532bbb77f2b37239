"""The environment as operators write it: settings by the names of their variables, each fault as a sentence.

Every process reads its settings through here, so that the same fault reads the same wherever it is made. The
variables themselves are in the settings.py files.
"""

from collections.abc import Collection
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails

Settings = TypeVar("Settings", bound=BaseModel)

#: Values of these kinds are repeated in a sentence. All others (secrets, URLs with a password) are not.
_SHOWN_KINDS = (str, int, float, bool, Path, NoneType, tuple)
_SHOWN_CHARS = 80


def _address(text: str) -> str:
    """Checked at start: an address where nothing can be would be found out by clients only, or by nobody."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port beyond 65535, a malformed IPv6 address
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be an http or https URL with the name or address of a host")
    return text


Address = Annotated[str, AfterValidator(_address)]
#: Compose files set what nobody filled in to nothing.
AddressIfAny = Annotated[
    str | None,
    BeforeValidator(lambda text: text or None),
    AfterValidator(lambda text: None if text is None else _address(text)),
]

#: MICROCINEMA_LEASE_S, whichever process reads it. At least 3: the sweep turns once a second and takes a gap
#: of half a lease for an outage; below 2 it would never reap.
LeaseSeconds = Annotated[float, Field(ge=3, le=3600)]


class UnusableSettings(ValueError):
    """One of `sentences` for each fault: the variable's name, the bound, and its value if it is no secret."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def check_settings(*kinds: type[BaseModel], given: Collection[str] = ()) -> None:
    """Read them all, so that whoever mends an environment sees every fault of it at once.

    A rule between several variables is looked at where each of them can be used. Variables that are `given`
    by whoever asks may be unset. Raises UnusableSettings.
    """
    unset = {_unset(variable) for variable in given}
    faults: dict[str, None] = {}
    for kind in kinds:
        try:
            read_settings(kind)
        except UnusableSettings as error:
            # Several kinds read the same variable.
            faults |= dict.fromkeys(sentence for sentence in error.sentences if sentence not in unset)
    if faults:
        raise UnusableSettings(*faults)


def read_settings(kind: type[Settings]) -> Settings:
    """The settings of this kind as the environment has them. Raises UnusableSettings."""
    try:
        return kind()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        raise UnusableSettings(*(_sentence(kind, fault) for fault in faults)) from None
    except ValueError as error:  # what should be JSON and is not; the field is named in quotes
        unread = [variable(kind, field) for field in kind.model_fields if f'"{field}"' in str(error)]
        raise UnusableSettings(f"{', '.join(unread) or kind.__name__} cannot be read as JSON") from None


def variable(kind: type[BaseModel], field: str) -> str:
    """The environment variable that sets this field."""
    alias = kind.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def _unset(name: str) -> str:
    return f"{name} is required and not set"


def _sentence(kind: type[BaseModel], fault: ErrorDetails) -> str:
    said = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:  # a rule between several variables, which names them itself
        return said
    place = str(fault["loc"][0])
    field = next((name for name in kind.model_fields if place in (name, variable(kind, name))), None)
    name = place if field is None else variable(kind, field)
    if fault["type"] == "missing":
        return _unset(name)
    within = "".join(f"[{index}]" for index in fault["loc"][1:])
    rule = said.replace("Input should be", "must be", 1).replace("should", "must", 1)
    colon = "" if rule.startswith("must be") else ":"
    if ", got " in rule and fault["type"] == "value_error":  # the rule is ours and has said it
        return f"{name}{within}{colon} {rule}"
    return f"{name}{within}{colon} {rule}, got {_shown(kind, field, fault)}"


def _shown(kind: type[BaseModel], field: str | None, fault: ErrorDetails) -> str:
    if field is None or not _harmless(kind.model_fields[field].annotation):
        return "a value that is not shown here"
    return repr(fault["input"])[:_SHOWN_CHARS]


def _harmless(annotation: Any) -> bool:
    kinds = [annotation, *get_args(annotation)]
    return all(issubclass(each, _SHOWN_KINDS) for each in kinds if isinstance(each, type))
