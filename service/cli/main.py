"""The `microcinema` command. It never imports a model: whatever needs one runs as a child process."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from service.cli.admin import add_admin_commands
from service.cli.arguments import HIGHEST_PORT, MAX_WORKERS, usable_folder, whole_within
from service.cli.operator import add_operator_commands
from service.cli.video_commands import add_request_flags, add_video_commands, request_options, warn
from service.cli.webhook_commands import add_webhook_commands
from service.client import MicroCinemaError
from service.contracts.environment import UnusableSettings, read_settings
from service.stack.demo import DemoFailed, make_demo
from service.stack.embedded import EmbeddedValkeyMissing
from service.stack.plan import WorkerMissing, check_stack, plan_stack
from service.stack.settings import StackSettings
from service.stack.state_folder import StateFolder, StateFolderBusy, StateFolderForeign
from service.stack.terminal import prefixed_log
from service.store.errors import StoreUnavailable
from service.supervision.ports import is_free
from service.supervision.supervisor import Supervisor

EXPECTED_FAILURES = (
    MicroCinemaError,
    DemoFailed,
    StateFolderBusy,
    StateFolderForeign,
    EmbeddedValkeyMissing,
    WorkerMissing,
    StoreUnavailable,
    OSError,
)
STOPPED_BY_CTRL_C = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 it did not work (a sentence says why), 2 wrong usage, 130 Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] in (["up"], ["demo"]):
            check_stack()
        settings = read_settings(StackSettings)
        chosen = _parser(settings).parse_args(words)
        return int(chosen.run(settings, chosen))
    except UnusableSettings as error:
        return _complain(str(error), 2)
    except EXPECTED_FAILURES as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return STOPPED_BY_CTRL_C


def _parser(settings: StackSettings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microcinema", description="Text-to-video inference service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    port = whole_within(1, HIGHEST_PORT)
    up = commands.add_parser("up", help="run the whole service on this machine until Ctrl-C")
    up.set_defaults(run=_up)
    up.add_argument("--host", default=settings.host, help="address to bind (default %(default)s)")
    up.add_argument("--port", type=port, default=settings.port, help="default %(default)s")
    up.add_argument("--state-dir", type=usable_folder, default=settings.state_dir, help="default %(default)s")
    up.add_argument(
        "--workers", type=whole_within(1, MAX_WORKERS), default=1, help="GPU workers (default %(default)s)"
    )

    demo = commands.add_parser("demo", help="make one video with a service that lives as long as it takes")
    demo.set_defaults(run=_demo)
    demo.add_argument("--prompt", required=True)
    demo.add_argument(
        "--out", type=usable_folder, default=Path("var/demo"), help="folder (default %(default)s)"
    )
    demo.add_argument(
        "--state-dir", type=usable_folder, help="keep the service's state here (default: thrown away)"
    )
    add_request_flags(demo)

    add_video_commands(commands, settings)
    add_webhook_commands(commands, settings)
    add_operator_commands(commands, settings)
    add_admin_commands(commands, settings)
    return parser


def _up(settings: StackSettings, chosen: argparse.Namespace) -> int:
    if not is_free(chosen.host, chosen.port):
        return _complain(f"port {chosen.port} of {chosen.host} is in use; choose another with --port", 1)
    with StateFolder(chosen.state_dir) as folder:
        stack = plan_stack(settings, folder, host=chosen.host, port=chosen.port, workers=chosen.workers)
        show = prefixed_log(sys.stdout)
        supervisor = Supervisor(
            stack.children,
            show=show,
            on_ready=lambda: show("supervisor", stack.greeting),
        )
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, lambda *_: supervisor.stop())
        return supervisor.run()


def _demo(settings: StackSettings, chosen: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended by kill or by Ctrl-C: the same way out
    made = make_demo(
        settings,
        chosen.prompt,
        options=request_options(chosen),
        folder=chosen.out,
        state_dir=chosen.state_dir,
        screen=sys.stdout,
    )
    warn(made.video)
    print(f"prompt         {chosen.prompt}")
    print(f"set-up         {made.setup_s:.1f} s")
    print(f"render         {made.render_s:.1f} s for {made.video.num_frames} frames, seed {made.video.seed}")
    print(f"contact sheet  {made.sheet}")
    print(f"video          {made.path}")
    return 0


def _complain(sentence: str, status: int) -> int:
    print(f"microcinema: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
