"""The part of the `microcinema` command about webhooks: an owner's endpoints over HTTP, an operator's dead
letters straight on the record."""

import argparse
import sys
from pathlib import Path

from service.cli.arguments import endpoint_id, whole_number
from service.cli.dead_letters import open_dead_letters
from service.cli.on_record import Commands
from service.cli.video_commands import speaks
from service.client import Client, Endpoint
from service.stack.settings import StackSettings


def add_webhook_commands(commands: Commands, settings: StackSettings) -> None:
    """Adds the commands; each is run as `run(settings, chosen)` and answers the exit status."""
    endpoints = commands.add_parser("endpoints", help="URLs of yours that hear of all your videos")
    verbs = endpoints.add_subparsers(required=True, metavar="COMMAND")
    create = verbs.add_parser("create", help="add one; its secret is shown this once")
    create.add_argument("endpoint_url", metavar="URL", help="where the signed POSTs go")
    create.add_argument("--event", action="append", default=[], metavar="TYPE", help="only these; repeat it")
    create.add_argument("--description", metavar="TEXT")
    speaks(create, _create, settings)
    speaks(verbs.add_parser("list", help="yours, the oldest first"), _list, settings)
    rotate = verbs.add_parser("rotate", help="change the secret; the new one is shown this once")
    rotate.add_argument("--overlap-s", type=whole_number, help="for so long the old one signs too")
    for verb, act in (
        (rotate, _rotate),
        (verbs.add_parser("test", help="have it sent a ping"), _ping),
        (verbs.add_parser("delete", help="send it nothing more"), _delete),
    ):
        verb.add_argument("endpoint", type=endpoint_id, metavar="ENDPOINT_ID")
        speaks(verb, act, settings)

    webhooks = commands.add_parser("webhooks", help="see and send again what receivers did not take")
    letters = webhooks.add_subparsers(required=True, metavar="COMMAND")
    dead = letters.add_parser("dead", help="list the webhooks that were given up")
    dead.set_defaults(run=_dead)
    redeliver = letters.add_parser("redeliver", help="send webhooks again that were given up")
    redeliver.set_defaults(run=_redeliver)
    redeliver.add_argument("letters", nargs="*", metavar="EVENT_ID", help="as `webhooks dead` lists them")
    redeliver.add_argument("--all-dead", action="store_true", help="all that were given up")
    for reads_record in (dead, redeliver):
        reads_record.add_argument(
            "--state-dir",
            type=Path,
            default=settings.state_dir,
            help="without REDIS_URL (default %(default)s)",
        )


def _create(client: Client, chosen: argparse.Namespace) -> int:
    made = client.create_endpoint(chosen.endpoint_url, events=chosen.event, description=chosen.description)
    return _secret(made)


def _rotate(client: Client, chosen: argparse.Namespace) -> int:
    return _secret(client.rotate_endpoint(chosen.endpoint, overlap_s=chosen.overlap_s))


def _secret(endpoint: Endpoint) -> int:
    print(f"{endpoint.id} at {endpoint.url}; its secret is shown this once:", file=sys.stderr)
    print(endpoint.secret)
    return 0


def _list(client: Client, _: argparse.Namespace) -> int:
    for each in client.endpoints():
        state = "enabled" if each.enabled else f"DISABLED ({each.disabled_reason})"
        heard = ",".join(each.events) or "all events"
        print(f"{each.id}  {state}  {each.url}  {heard}  {each.description}".rstrip())
    return 0


def _ping(client: Client, chosen: argparse.Namespace) -> int:
    ping = client.ping_endpoint(chosen.endpoint)
    print(f"{ping.id} is on its way to {ping.host}")
    return 0


def _delete(client: Client, chosen: argparse.Namespace) -> int:
    client.delete_endpoint(chosen.endpoint)
    print(f"{chosen.endpoint} is deleted")
    return 0


def _dead(settings: StackSettings, chosen: argparse.Namespace) -> int:
    with open_dead_letters(settings, chosen.state_dir) as letters:
        for line in letters.lines():
            print(line)
    return 0


def _redeliver(settings: StackSettings, chosen: argparse.Namespace) -> int:
    if bool(chosen.letters) == chosen.all_dead:
        return _complain("webhooks redeliver: name either event ids or --all-dead", 2)
    with open_dead_letters(settings, chosen.state_dir) as letters:
        sent, unknown = letters.redeliver(chosen.letters or None)
    print(f"{sent} to be delivered again")
    return _complain(f"not among the dead letters: {', '.join(unknown)}", 1) if unknown else 0


def _complain(sentence: str, status: int) -> int:
    print(f"microcinema: {sentence}", file=sys.stderr)
    return status
