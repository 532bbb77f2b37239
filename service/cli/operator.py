"""The operator's part of the `microcinema` command: pause, resume, worker, tenant, keys, audit.

Straight on the record, not over HTTP: it concerns every tenant, and whoever may do it can reach Redis anyway.
"""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from redis import Redis

from service.cli.arguments import decimal_number
from service.cli.in_hand import list_in_hand
from service.cli.on_record import Commands, acts, complain, gate_flags, gate_in, moment, named
from service.cli.quotas import add_quota_flags, tend_quotas
from service.contracts.api_key import Scope
from service.stack.settings import StackSettings
from service.stack.storage import open_storage
from service.storage.pairing import pair
from service.store.api_keys import KeyStore
from service.store.audit import Audit
from service.store.controls import ControlStore
from service.store.script import Store
from service.store.storage_mark import RecordMark


def add_operator_commands(commands: Commands, settings: StackSettings) -> None:
    """Adds the commands; each is run as `run(settings, chosen)` and answers the exit status."""
    for verb, act, text in (
        ("pause", _pause, "accept no new videos, or let a pool's workers claim none"),
        ("resume", _resume, "end a pause"),
    ):
        acts(gate_flags(commands.add_parser(verb, help=text), verb), act, settings)

    workers = commands.add_parser("worker", help="see live workers, or let them end").add_subparsers(
        required=True, metavar="COMMAND"
    )
    acts(workers.add_parser("list", help="live workers and what they do"), _list_workers, settings)
    drain = workers.add_parser("drain", help="finish the jobs in hand, claim none, end with 0")
    drain.add_argument("workers", nargs="*", metavar="NAME", help="as `worker list` shows them")
    drain.add_argument("--all", action="store_true", dest="everyone", help="all that live now")
    acts(drain, _drain, settings)

    tenants = commands.add_parser("tenant", help="see and set tenants' shares").add_subparsers(
        required=True, metavar="COMMAND"
    )
    acts(tenants.add_parser("list", help="tenants with a share or a running job"), _list_tenants, settings)
    share = tenants.add_parser("set", help="set a tenant's weight or running cap")
    share.add_argument("tenant", metavar="NAME")
    share.add_argument(
        "--weight", type=decimal_number, help="GPU seconds against others'; 1 is what everybody has"
    )
    share.add_argument("--running-cap", type=_cap, metavar="N", help="jobs that may run at once, or none")
    acts(share, _set_share, settings)

    quota = tenants.add_parser("quota", help="see and set what tenants may use")
    add_quota_flags(quota)
    acts(quota, tend_quotas, settings)

    jobs = tenants.add_parser("jobs", help="list what owners have in hand: waiting, running, to approve")
    jobs.add_argument("tenant", nargs="?", metavar="NAME", help="of this one alone")
    acts(jobs, list_in_hand, settings)

    keys = commands.add_parser("keys", help="make, see and revoke API keys").add_subparsers(
        required=True, metavar="COMMAND"
    )
    create = keys.add_parser("create", help="make a key; it is shown this once")
    create.add_argument("--owner", required=True, help="whose videos it makes and sees")
    create.add_argument(
        "--scope",
        required=True,
        type=_scopes,
        metavar="SCOPES",
        help="read, write, admin: one, or several by comma",
    )
    acts(create, _create_key, settings)
    acts(keys.add_parser("list", help="keys, with the time of their last use"), _list_keys, settings)
    revoke = keys.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("key", metavar="KEY_ID", help="as `keys list` shows it")
    acts(revoke, _revoke_key, settings)

    storage = commands.add_parser("storage", help="which storage belongs to the record").add_subparsers(
        required=True, metavar="COMMAND"
    )
    adopt = storage.add_parser("adopt", help="let the storage of the settings be the record's from now on")
    acts(adopt, partial(_adopt_storage, settings), settings)

    audit = commands.add_parser("audit", help="list keys in Redis that nobody owns; 1 if there are any")
    acts(audit, _audit, settings)


def readiness_lines(parts: Mapping[str, Any]) -> list[str]:
    """What `/readyz` tells of operators' settings, in a line each."""
    lines = []
    for gate, pause in sorted(parts.get("paused", {}).items()):
        lines.append(f"{named(gate)} is PAUSED since {moment(pause['since'])}: {pause['reason']}")
    for pool, count in sorted(parts.get("draining_workers", {}).items()):
        lines.append(f"pool {pool}: {count} worker{'' if count == 1 else 's'} draining")
    return lines


def _cap(text: str) -> int | str:
    if text == "none":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number or none, got {text!r}") from None


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be read, write or admin, several by comma, got {text!r}"
        ) from None


def _controls(redis: Redis) -> ControlStore:
    return ControlStore(Store(redis))


def _pause(redis: Redis, chosen: argparse.Namespace) -> int:
    closed = gate_in(chosen)
    fresh = _controls(redis).pause(closed, chosen.reason)
    print(f"{named(closed)} is {'paused' if fresh else 'paused already; the reason is new'}")
    return 0


def _resume(redis: Redis, chosen: argparse.Namespace) -> int:
    closed = gate_in(chosen)
    print(f"{named(closed)} {'goes on' if _controls(redis).resume(closed) else 'was not paused'}")
    return 0


def _list_workers(redis: Redis, _: argparse.Namespace) -> int:
    controls = _controls(redis)
    for gate, pause in sorted(controls.pauses().items()):
        print(f"{named(gate)} is PAUSED since {moment(pause.since)}: {pause.reason}")
    for worker in controls.live_workers():
        doing = f"runs {worker.running}" if worker.running else "idle"
        print(
            "  ".join(
                (worker.name, worker.pool, ",".join(worker.models), doing + ", draining" * worker.draining)
            )
        )
    return 0


def _drain(redis: Redis, chosen: argparse.Namespace) -> int:
    if bool(chosen.workers) == chosen.everyone:
        return complain("worker drain: name either workers or --all", 2)
    told = _controls(redis).drain(chosen.workers)
    print(f"{len(told)} told to drain: {', '.join(told)}" if told else "nobody is there to drain")
    missing = sorted(set(chosen.workers) - set(told))
    return complain(f"not among the live workers: {', '.join(missing)}", 1) if missing else 0


def _list_tenants(redis: Redis, _: argparse.Namespace) -> int:
    for share in _controls(redis).shares():
        cap = "no cap" if share.running_cap is None else f"cap {share.running_cap}"
        taken = "".join(f"  {part:.0%} of {pool} of late" for pool, part in sorted(share.taken.items()))
        print(f"{share.tenant}  weight {share.weight:g}  {cap}  running {share.running}{taken}")
    return 0


def _set_share(redis: Redis, chosen: argparse.Namespace) -> int:
    if chosen.weight is None and chosen.running_cap is None:
        return complain("tenant set: give --weight or --running-cap", 2)
    uncapped = chosen.running_cap == "none"
    cap = None if uncapped else chosen.running_cap
    _controls(redis).set_share(chosen.tenant, weight=chosen.weight, running_cap=cap, uncapped=uncapped)
    return _list_tenants(redis, chosen)


def _create_key(redis: Redis, chosen: argparse.Namespace) -> int:
    key_id, secret = KeyStore(Store(redis)).create(chosen.owner, chosen.scope)
    print(f"{key_id} of {chosen.owner}; this is shown once:", file=sys.stderr)
    print(secret)
    return 0


def _list_keys(redis: Redis, _: argparse.Namespace) -> int:
    for key in KeyStore(Store(redis)).listed():
        used = "never used" if key.last_used_at is None else f"last used {moment(key.last_used_at)}"
        scopes = ",".join(sorted(key.scopes))
        print(f"{key.id}  {key.owner}  {scopes}  made {moment(key.created_at)}  {used}")
    return 0


def _revoke_key(redis: Redis, chosen: argparse.Namespace) -> int:
    if KeyStore(Store(redis)).revoke(chosen.key):
        print(f"{chosen.key} is revoked")
        return 0
    return complain(f"no key {chosen.key!r}; `microcinema keys list` shows them", 1)


def _adopt_storage(settings: StackSettings, redis: Redis, chosen: argparse.Namespace) -> int:
    storage, record = open_storage(settings, chosen.state_dir), RecordMark(redis)
    for either in (record, storage):
        either.forget_mark()
    pair(storage, record)
    print(f"record and storage belong together now: both carry {storage.mark()}")
    return 0


def _audit(redis: Redis, _: argparse.Namespace) -> int:
    orphans = Audit(redis).orphans()
    for orphan in orphans:
        print(f"{orphan.key}  {orphan.why}")
    print(f"{len(orphans)} keys without an owner")
    return 1 if orphans else 0
