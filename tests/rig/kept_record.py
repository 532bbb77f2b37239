"""A whole record as one version of the service wrote it, with its storage: kept as a file, put back later.

Everything in Redis and everything stored, in one JSON file. What is put back stands as it stood, but later:
every moment in it (seconds or microseconds since 1970, near the time at which it was taken) is moved along.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

RECORDS = Path(__file__).parents[1] / "e2e" / "records"
#: Where the webhooks of a record go: nobody listens there.
RECEIVER = "127.0.0.1:19"
#: A number this near to the time of the record is a moment (s); no deadline is further.
NEAR_S = 40 * 24 * 3600
_NUMBER = re.compile(r"(?<![\w.\-])(?:(\d{10})(\.\d+)?|(\d{16})(?:\.0)?)(?![\w.\-])")


@dataclass(frozen=True)
class KeptRecord:
    """`keys`: by name, {kind, value, ttl in s or null}. `objects`: by key, the bytes as base64.

    `facts` are what a test needs to know of it: ids and what was sent, by name.
    """

    version: str
    taken_at: float
    facts: Mapping[str, Any]
    keys: Mapping[str, Any]
    objects: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> KeptRecord:
        return cls(**json.loads(path.read_text(encoding="ascii")))

    def save(self, path: Path) -> None:
        """One key a line, so that a difference can be read."""
        plain = ("version", "taken_at", "facts")
        lines = [f"{json.dumps(name)}: {json.dumps(getattr(self, name))}" for name in plain]
        for name in ("keys", "objects"):
            rows = (f"{json.dumps(key)}: {json.dumps(each)}" for key, each in getattr(self, name).items())
            lines.append(json.dumps(name) + ": {\n" + ",\n".join(rows) + "\n}")
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")

    def restore(self, redis: Redis, storage: Path, at: float, receiver: str = RECEIVER) -> None:
        """Into an empty server and an empty folder, as if it had been taken at `at` (s since 1970).

        `receiver`: host and port to which its webhooks go from now on.
        """
        move = _mover(self.taken_at, at - self.taken_at)

        def moved(text: str) -> str:
            return move(text).replace(RECEIVER, receiver)

        for name, key in self.keys.items():
            _write(redis, name, key["kind"], _as_bytes(key["value"], moved))
            if key["ttl"] is not None:
                redis.pexpire(name, max(1, int(1000 * key["ttl"])))
        for name, body in self.objects.items():
            path = storage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(body))


def taken(redis: Redis, storage: Path, version: str, facts: Mapping[str, Any], at: float) -> KeptRecord:
    """What stands in Redis and in the folder of a FileStore now."""
    keys = {}
    for raw in sorted(redis.scan_iter(count=1000)):
        kind, ttl = redis.type(raw).decode(), redis.pttl(raw)
        if ttl == -2:
            continue  # gone meanwhile
        keys[_text(raw)] = {
            "kind": kind,
            "value": _as_text(_read(redis, raw, kind)),
            "ttl": None if ttl == -1 else ttl / 1000,
        }
    files = sorted(path for path in storage.rglob("*") if path.is_file())
    objects = {str(path.relative_to(storage)): base64.b64encode(path.read_bytes()).decode() for path in files}
    return KeptRecord(version, at, facts, keys, objects)


def _read(redis: Redis, name: bytes, kind: str) -> Any:
    match kind:
        case "string":
            return redis.get(name)
        case "hash":
            return sorted([field, value] for field, value in redis.hgetall(name).items())
        case "list":
            return redis.lrange(name, 0, -1)
        case "set":
            return sorted(redis.smembers(name))
        case "zset":
            return [[member, repr(score)] for member, score in redis.zrange(name, 0, -1, withscores=True)]
        case "stream":
            entries = redis.xrange(name)
            return [[entry, [part for pair in fields.items() for part in pair]] for entry, fields in entries]
    raise ValueError(f"{name!r} is of the kind {kind!r}, which nothing here keeps")


def _write(redis: Redis, name: str, kind: str, value: Any) -> None:
    match kind:
        case "string":
            redis.set(name, value)
        case "hash":
            redis.hset(name, mapping=dict(value))
        case "list":
            redis.rpush(name, *value)
        case "set":
            redis.sadd(name, *value)
        case "zset":
            redis.zadd(name, {member: float(score) for member, score in value})
        case "stream":
            for entry, flat in value:
                redis.execute_command("XADD", name, entry, *flat)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(part) for part in value]
    return _text(value) if isinstance(value, bytes) else value


def _as_bytes(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_as_bytes(part, change) for part in value]
    return change(value).encode("utf-8", "surrogateescape")


def _mover(taken_at: float, shift: float) -> Callable[[str], str]:
    def moved(found: re.Match[str]) -> str:
        seconds, fraction, microseconds = found.groups()
        if microseconds and abs(int(microseconds) / 1e6 - taken_at) < NEAR_S:
            return str(int(microseconds) + round(shift * 1e6))
        if seconds and abs(int(seconds) - taken_at) < NEAR_S:
            number = f"{float(seconds + (fraction or '')) + shift:.6f}"
            return number if fraction else number.partition(".")[0]
        return found.group()

    return lambda text: _NUMBER.sub(moved, text)


def kept_records() -> Iterator[Path]:
    """Every record that is kept, the oldest first."""
    return iter(sorted(RECORDS.glob("*.json")))
