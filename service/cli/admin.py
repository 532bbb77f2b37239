"""`microcinema admin`: one place for what keeps a fleet going, each verb with --json for scripts.

Straight on the record, as the commands of operator.py are; what those do besides is theirs.
"""

import argparse
import sys
from dataclasses import asdict
from functools import partial

from redis import Redis

from service.cli.arguments import delay_s, moment_or_delay, video_id
from service.cli.on_record import Commands, acts, complain, gate_flags, gate_in, moment, named, told
from service.cli.requeue import Requeue
from service.contracts.deadline import Deadline
from service.contracts.keys import REDIS_KEYS
from service.contracts.lifecycle import TERMINAL, State
from service.stack.settings import StackSettings
from service.stack.storage import open_storage
from service.store.api_keys import KeyStore
from service.store.controls import ControlStore
from service.store.errors import reaching_redis
from service.store.roster import snapshot
from service.store.script import Store
from service.store.tending import EndedRetention, Tending

DAY_S = 86400.0


def add_admin_commands(commands: Commands, settings: StackSettings) -> None:
    """Adds `admin` and its verbs; each is run as `run(settings, chosen)` and answers the exit status."""
    verbs = commands.add_parser("admin", help="tend the fleet: jobs, workers, keys, webhooks").add_subparsers(
        required=True, metavar="VERB"
    )
    status = verbs.add_parser("status", help="how queue, pools and webhooks stand")
    workers = verbs.add_parser("workers", help="live workers and what they do")
    drain = verbs.add_parser("drain", help="let workers finish what they have and end")
    drain.add_argument("workers", nargs="*", metavar="NAME", help="as `admin workers` shows them")
    drain.add_argument("--all", action="store_true", dest="everyone", help="all that live now")
    pause = gate_flags(verbs.add_parser("pause", help="close the intake or a pool"), "pause")
    resume = gate_flags(verbs.add_parser("resume", help="open what was paused"), "resume")
    requeue = verbs.add_parser("requeue", help="queue failed jobs again, each as a job of its own")
    requeue.add_argument("videos", nargs="+", type=video_id, metavar="VIDEO_ID")
    purge = verbs.add_parser("purge", help="let ended jobs go before their time is over")
    purge.add_argument(
        "--state",
        action="append",
        type=State,
        choices=sorted(TERMINAL),
        help="repeat it; left out: whatever ended",
    )
    purge.add_argument(
        "--older-than", type=delay_s, required=True, metavar="AGE", help="ended so long ago: 90m, 12h, 7d"
    )
    purge.add_argument("--tenant", metavar="NAME", help="of this owner alone")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    keys = verbs.add_parser("keys", help="who may do what, and who does").add_subparsers(
        required=True, metavar="COMMAND"
    )
    audit = keys.add_parser("audit", help="scopes and last use of every API key")
    audit.add_argument(
        "--unused-for",
        type=delay_s,
        default=90 * DAY_S,
        metavar="TIME",
        help="name keys not used for so long (default 90d)",
    )
    replay = verbs.add_parser("replay", help="send webhooks again that have ended")
    replay.add_argument("--video", type=video_id, metavar="VIDEO_ID", help="those of this job")
    replay.add_argument("--since", type=moment_or_delay, metavar="TIME", help="a time, or how long ago: 12h")
    replay.add_argument("--until", type=moment_or_delay, metavar="TIME", help="as --since (default: now)")
    replay.add_argument("--tenant", metavar="NAME", help="of this owner alone")
    replay.add_argument("--all", action="store_true", dest="everything", help="also what was delivered")
    for verb, act in (
        (status, _status),
        (workers, _workers),
        (drain, _drain),
        (pause, _pause),
        (resume, _resume),
        (requeue, partial(_requeue, settings)),
        (purge, _purge),
        (audit, _audit_keys),
        (replay, _replay),
    ):
        verb.add_argument("--json", action="store_true", help="for scripts: one JSON document")
        acts(verb, act, settings)


def _controls(redis: Redis) -> ControlStore:
    return ControlStore(Store(redis))


def _status(redis: Redis, chosen: argparse.Namespace) -> int:
    stands = Store(redis).run(snapshot())
    with reaching_redis():
        due, dead = (redis.zcard(REDIS_KEYS[key]) for key in ("DELIVERIES_DUE", "DELIVERIES_DEAD"))
    pools = {
        name: {**asdict(depth), "paused": f"pool:{name}" in stands.pauses}
        for name, depth in sorted(stands.pools.items())
    }
    facts = {
        "jobs": {state.value: count for state, count in stands.states.items()},
        "pools": pools,
        "paused": {gate: asdict(pause) for gate, pause in stands.pauses.items()},
        "webhooks": {"outbox": stands.outbox, "waiting": due, "dead": dead},
        "awaiting_deletion": stands.doomed,
        "left_to_newer_versions": stands.left,
        "redis": asdict(stands.server),
    }
    lines = [
        f"{named(gate)} is PAUSED since {moment(p.since)}: {p.reason}" for gate, p in stands.pauses.items()
    ]
    lines.append("jobs  " + "  ".join(f"{state} {count}" for state, count in stands.states.items()))
    for name, depth in sorted(stands.pools.items()):
        waits = (
            f"ready {depth.ready} ({depth.backlog_gpu_s:.0f} GPU s, oldest {depth.oldest_ready_age_s:.0f} s)"
        )
        drains = f", {depth.draining} draining" if depth.draining else ""
        lines.append(f"pool {name}  {waits}  running {depth.running}  workers {depth.live_workers}{drains}")
    lines.append(f"webhooks  outbox {stands.outbox}  waiting {due}  dead {dead}")
    if stands.left:
        lines.append(f"{stands.left} job records are of a newer version and left to it")
    told(chosen, facts, *lines)
    return 0


def _workers(redis: Redis, chosen: argparse.Namespace) -> int:
    workers = _controls(redis).live_workers()
    lines = []
    for worker in workers:
        doing = f"runs {worker.running}" if worker.running else "idle"
        doing += ", draining" * worker.draining
        lines.append("  ".join((worker.name, worker.pool, ",".join(worker.models), doing)))
    told(chosen, [asdict(worker) for worker in workers], *(lines or ["no live worker"]))
    return 0


def _drain(redis: Redis, chosen: argparse.Namespace) -> int:
    if bool(chosen.workers) == chosen.everyone:
        raise ValueError("admin drain: name either workers or --all")
    drained = _controls(redis).drain(chosen.workers)
    missing = sorted(set(chosen.workers) - set(drained))
    words = f"{len(drained)} told to drain: {', '.join(drained)}" if drained else "nobody is there to drain"
    told(chosen, {"told": list(drained), "missing": missing}, words)
    return complain(f"not among the live workers: {', '.join(missing)}", 1) if missing else 0


def _pause(redis: Redis, chosen: argparse.Namespace) -> int:
    gate = gate_in(chosen)
    fresh = _controls(redis).pause(gate, chosen.reason)
    words = f"{named(gate)} is {'paused' if fresh else 'paused already; the reason is new'}"
    told(chosen, {"gate": gate, "paused": True, "changed": fresh}, words)
    return 0


def _resume(redis: Redis, chosen: argparse.Namespace) -> int:
    gate = gate_in(chosen)
    changed = _controls(redis).resume(gate)
    words = f"{named(gate)} {'goes on' if changed else 'was not paused'}"
    told(chosen, {"gate": gate, "paused": False, "changed": changed}, words)
    return 0


def _requeue(settings: StackSettings, redis: Redis, chosen: argparse.Namespace) -> int:
    requeue = Requeue(redis, open_storage(settings, chosen.state_dir))
    made, refused = [], []
    for video in chosen.videos:
        try:
            made.append(requeue.again(video))
        except ValueError as error:
            refused.append(str(error))
    lines = [f"{each.source} is {'now' if each.created else 'already'} {each.job_id}" for each in made]
    told(chosen, {"requeued": [asdict(each) for each in made], "refused": refused}, *lines)
    return complain("; ".join(refused), 1) if refused else 0


def _purge(redis: Redis, chosen: argparse.Namespace) -> int:
    tending = Tending(redis)
    before = tending.now() - chosen.older_than
    states = set(chosen.state or TERMINAL)
    found = [
        job
        for job in tending.ended_jobs()
        if job.state in states and job.ended_at <= before and chosen.tenant in (None, job.tenant)
    ]
    if found and not chosen.yes and not _agreed(f"{len(found)} videos and their files go for good"):
        raise ValueError(f"admin purge: {len(found)} videos would go; say so with --yes")
    ended = [job for job in found if tending.end_retention(job.id) is EndedRetention.ENDED]
    told(
        chosen,
        {"purged": [job.id for job in ended]},
        f"{len(ended)} videos go at the janitor's next turn",
    )
    return 0


def _agreed(what: str) -> bool:
    """Asks a person; nobody is there to answer for a script."""
    return sys.stdin.isatty() and input(f"{what}. Type yes to go on: ").strip() == "yes"


def _audit_keys(redis: Redis, chosen: argparse.Namespace) -> int:
    now = Tending(redis).now()
    facts, lines = [], []
    for key in KeyStore(Store(redis)).listed():
        since = key.created_at if key.last_used_at is None else key.last_used_at
        unused = now - since >= chosen.unused_for
        used = "never used" if key.last_used_at is None else f"last used {moment(key.last_used_at)}"
        scopes = sorted(key.scopes)
        facts.append(
            {
                "id": key.id,
                "owner": key.owner,
                "scopes": scopes,
                "created_at": key.created_at,
                "last_used_at": key.last_used_at,
                "never_used": key.last_used_at is None,
                "unused": unused,
            }
        )
        remark = f"  UNUSED for {(now - since) / DAY_S:.0f} days" if unused else ""
        lines.append(
            f"{key.id}  {key.owner}  {','.join(scopes)}  made {moment(key.created_at)}  {used}{remark}"
        )
    told(chosen, facts, *(lines or ["no API keys"]))
    return 0


def _replay(redis: Redis, chosen: argparse.Namespace) -> int:
    if (chosen.video is None) == (chosen.since is None):
        raise ValueError("admin replay: give either --video or --since")
    tending = Tending(redis)
    now = tending.now()
    since, until = _ago(chosen.since, now, 0.0), _ago(chosen.until, now, now)
    if since > until:
        raise ValueError(f"admin replay: --since {moment(since)} must not be after --until {moment(until)}")
    sent = [
        letter.id
        for letter in tending.letters(chosen.video)
        if letter.state != "waiting"
        and (chosen.everything or letter.state != "delivered")
        and since <= letter.filed_at <= until
        and chosen.tenant in (None, letter.tenant)
        and tending.resend(letter)
    ]
    told(chosen, {"sent_again": sorted(sent)}, f"{len(sent)} webhooks are due again")
    return 0


def _ago(when: Deadline | None, now: float, otherwise: float) -> float:
    if when is None:
        return otherwise
    return now - when.seconds if when.relative else when.seconds
