"""What the commands have in common that work straight on the record: where it is, and how they speak."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from redis import Redis

from service.stack.record import open_record
from service.stack.settings import StackSettings
from service.storage.artifact_store import StorageError
from service.store.controls import INTAKE, MAX_REASON_CHARS, gate_of
from service.store.errors import NewerRecord

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Act: TypeAlias = Callable[[Redis, argparse.Namespace], int]


def acts(parser: argparse.ArgumentParser, act: Act, settings: StackSettings) -> None:
    """Makes `act` what the command does: it gets the record and answers the exit status.

    A ValueError is wrong usage (2); a StorageError and a NewerRecord did not work (1).
    """

    def run(settings: StackSettings, chosen: argparse.Namespace) -> int:
        try:
            with open_record(settings, chosen.state_dir) as redis:
                return act(redis, chosen)
        except ValueError as error:
            return complain(str(error), 2)
        except (StorageError, NewerRecord) as error:
            return complain(str(error), 1)

    parser.set_defaults(run=run)
    parser.add_argument(
        "--state-dir", type=Path, default=settings.state_dir, help="without REDIS_URL (default %(default)s)"
    )


def gate_flags(parser: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    """Which gate to `pause` or `resume`, and why it is closed."""
    parser.add_argument("what", choices=("intake", "pool"))
    parser.add_argument("pool", nargs="?", metavar="NAME", help="of the pool")
    if verb == "pause":
        parser.add_argument(
            "--reason",
            required=True,
            help=f"shown to clients and operators; to {MAX_REASON_CHARS} characters",
        )
    return parser


def gate_in(chosen: argparse.Namespace) -> str:
    """The gate that was named. Raises ValueError for a pool without a name, and a name too many."""
    if (chosen.what == "pool") != bool(chosen.pool):
        raise ValueError(f"{chosen.what}: name {'the pool' if chosen.what == 'pool' else 'nothing more'}")
    return INTAKE if chosen.what == "intake" else gate_of(chosen.pool)


def told(chosen: argparse.Namespace, facts: Any, *lines: str) -> None:
    """Prints `facts` as one JSON document where that was asked for, and the lines elsewhere."""
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        for line in lines:
            print(line)


def named(gate: str) -> str:
    """A gate in words."""
    return gate.replace(":", " ")


def moment(seconds: float) -> str:
    """Unix seconds as people read them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def complain(sentence: str, status: int) -> int:
    """Says it on stderr; the exit status."""
    print(f"microcinema: {sentence}", file=sys.stderr)
    return status
