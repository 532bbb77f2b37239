"""Commands, the Lua scripts behind them, and the two runners (blocking and asyncio).

A Command says everything about one call: which script, with which arguments, and how to read the reply.
The runners only carry it to the server, so blocking and asyncio callers share all of the logic.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from redis import Redis
from redis.exceptions import NoScriptError

from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import CLAIMED, PROGRESS_TYPE, TABLE, TERMINAL, TRANSITIONS, Stage
from service.contracts.request import MAX_PRIORITY, MIN_PRIORITY
from service.contracts.schema import RECORD_SCHEMA
from service.store.errors import reaching_redis

R = TypeVar("R")
Argument: TypeAlias = str | int | float

SERVER_CLOCK = """local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
"""
"""Lua source of `now()`: seconds since 1970 by the server's own clock, the only clock the record knows."""

SHARED = ("waiting", "costs", "allowance", "flaws", "telling", "prelude", "letters")
"""What every script carries ahead of its own lines, from lua/, in this order."""


@dataclass(frozen=True)
class Command(Generic[R]):
    """One call of the script lua/<script>.lua: its ARGV, and how to read the reply (text, never bytes)."""

    script: str
    args: tuple[Argument, ...]
    parse: Callable[[Any], R]


@dataclass(frozen=True)
class Script:
    """A script's whole source and its name on the server."""

    source: str
    sha1: str

    @classmethod
    def of(cls, source: str) -> "Script":
        """EVALSHA addresses a script by the SHA-1 of its text: no secret."""
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True)
class Library:
    """Scripts as they are sent: shebang, names and tables of the contracts, clock, what they share, body.

    `clock` is Lua source that defines `now()`, `schema` what is written and understood. Only tests pass
    others: they are not settings.
    """

    clock: str = SERVER_CLOCK
    schema: int = RECORD_SCHEMA
    _loaded: dict[str, Script] = field(default_factory=dict, compare=False, repr=False)

    def script(self, name: str) -> Script:
        """The script lua/<name>.lua; FileNotFoundError if there is none."""
        if name not in self._loaded:
            flags, body = _read(name).split("\n", 1)
            if not flags.startswith("#!lua"):
                raise ValueError(f"lua/{name}.lua must begin with its '#!lua' line")
            schema = f"local SCHEMA = {self.schema}"
            source = "\n".join((flags, _tables(), schema, self.clock, *map(_read, SHARED), body))
            self._loaded[name] = Script.of(source)
        return self._loaded[name]


@cache
def _read(name: str) -> str:
    return (files("service.store") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


@cache
def _tables() -> str:
    """Keys, state table and transitions as Lua literals, so that scripts and Python cannot disagree."""
    following = {
        state.value: _lua_table({next_state.value: True for next_state in sorted(states)})
        for state, states in TRANSITIONS.items()
    }
    lines = {
        "KEY": _lua_table(dict(REDIS_KEYS)),
        "STATUS": _lua_table({state.value: row.openai_status for state, row in TABLE.items()}),
        "TYPE": _lua_table(
            {state.value: row.webhook_type for state, row in TABLE.items()} | {"progress": PROGRESS_TYPE}
        ),
        "STAGE": _lua_table({stage.value: True for stage in Stage}),
        "TERMINAL": _lua_table({state.value: True for state in sorted(TERMINAL)}),
        "FOLLOWS": "{" + ", ".join(f"{state} = {table}" for state, table in following.items()) + "}",
    }
    lines["CLAIMED"] = json.dumps(CLAIMED)
    lines["LEAST_PRIORITY, MOST_PRIORITY"] = f"{MIN_PRIORITY}, {MAX_PRIORITY}"
    return "\n".join(f"local {name} = {table}" for name, table in lines.items())


def _lua_table(pairs: Mapping[str, str | bool]) -> str:
    # A JSON string or boolean is a Lua literal too as long as it is plain ASCII, which our names are.
    return "{" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in pairs.items()) + "}"


def text(reply: Any) -> Any:
    """Any reply with its bytes read as UTF-8, whatever the client's `decode_responses` is."""
    if isinstance(reply, bytes):
        return reply.decode("utf-8")
    if isinstance(reply, list):
        return [text(part) for part in reply]
    return reply


def pairs(flat: Sequence[Any]) -> Mapping[str, Any]:
    """A hash as scripts answer it: name, value, name, value, ..."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True)
class Store:
    """Runs commands over a blocking client. Raises StoreUnavailable; never sends a command again itself."""

    redis: Redis
    library: Library = field(default_factory=Library)

    def run(self, command: Command[R]) -> R:
        """Run one command on the server, loading its script there the first time."""
        script = self.library.script(command.script)
        with reaching_redis():
            try:
                reply = self.redis.evalsha(script.sha1, 0, *command.args)
            except NoScriptError:
                reply = self.redis.eval(script.source, 0, *command.args)
        return command.parse(text(reply))


class AsksScripts(Protocol):
    """What AsyncStore needs of an asyncio client: redis-py's own or a SharedConnection."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Argument) -> Any: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Argument) -> Any: ...


async def evaluated(asks: AsksScripts, script: Script, keys: int, *keys_and_args: Argument) -> Any:
    """What a script answers, loading it on the server the first time; the client's own errors."""
    try:
        return await asks.evalsha(script.sha1, keys, *keys_and_args)
    except NoScriptError:
        return await asks.eval(script.source, keys, *keys_and_args)


@dataclass(frozen=True)
class AsyncStore:
    """Runs commands over an asyncio client. Raises StoreUnavailable; never sends a command again itself."""

    redis: AsksScripts
    library: Library = field(default_factory=Library)

    async def run(self, command: Command[R]) -> R:
        """Run one command on the server, loading its script there the first time."""
        script = self.library.script(command.script)
        with reaching_redis():
            reply = await evaluated(self.redis, script, 0, *command.args)
        return command.parse(text(reply))
