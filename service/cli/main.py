"""The `microcinema` command. It never imports a model: whatever needs one runs as a child process."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import cast, get_type_hints

from service.cli.arguments import (
    HIGHEST_PORT,
    MAX_WORKERS,
    decimal_number,
    new_file,
    readable_file,
    usable_folder,
    video_id,
    whole_number,
    whole_within,
)
from service.cli.dead_letters import open_dead_letters
from service.cli.model_lines import model_lines
from service.cli.operator import add_operator_commands, readiness_lines
from service.client import Client
from service.client_answers import MicroCinemaError, Video, VideoOptions
from service.contracts.environment import UnusableSettings, read_settings
from service.stack.demo import DemoFailed, make_demo
from service.stack.embedded import EmbeddedValkeyMissing
from service.stack.plan import WorkerMissing, plan_stack, reachable
from service.stack.ports import is_free
from service.stack.settings import StackSettings
from service.stack.state_folder import StateFolder, StateFolderBusy, StateFolderForeign
from service.stack.supervisor import Supervisor
from service.stack.terminal import ProgressBar, prefixed_log
from service.store.errors import StoreUnavailable

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
RECENT = 10
#: The numbers and words of a request that have a flag each.
PLAIN_OPTIONS = (
    "model",
    "size",
    "seconds",
    "num_frames",
    "fps",
    "seed",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "gamma",
    "sampler",
    "priority",
    "start_by",
    "finish_by",
    "fit",
    "webhook_url",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 it did not work (a sentence says why), 2 wrong usage, 130 Ctrl-C."""
    try:
        settings = read_settings(StackSettings)
        chosen = _parser(settings).parse_args(arguments)
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
    _add_request_flags(demo)

    generate = commands.add_parser("generate", help="ask a running service for a video and download it")
    generate.set_defaults(run=_generate)
    generate.add_argument("prompt")
    generate.add_argument("--out", type=new_file, help="MP4 to write (default ./<id>.mp4)")
    generate.add_argument("--picture", type=readable_file, help="PNG, JPEG or WebP to animate")
    _add_request_flags(generate)

    status = commands.add_parser("status", help="show the service, or one video")
    status.set_defaults(run=_status)
    status.add_argument("video", nargs="?", type=video_id, metavar="VIDEO_ID")

    models = commands.add_parser("models", help="list the models and what may be asked of each")
    models.set_defaults(run=_models)

    cancel = commands.add_parser("cancel", help="stop a video that waits or runs")
    cancel.set_defaults(run=_cancel)
    cancel.add_argument("video", type=video_id, metavar="VIDEO_ID")

    approve = commands.add_parser("approve", help="choose the keyframe of a video that waits for you")
    approve.set_defaults(run=_approve)
    approve.add_argument("video", type=video_id, metavar="VIDEO_ID")
    choice = approve.add_mutually_exclusive_group()
    choice.add_argument("--candidate", type=whole_number, help="its number, from 0")
    choice.add_argument("--picture", type=readable_file, help="PNG, JPEG or WebP to animate instead")

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

    add_operator_commands(commands, settings)
    for speaks in (generate, status, models, cancel, approve):
        speaks.add_argument(
            "--url", default=f"http://{reachable(settings.host)}:{settings.port}", help="%(default)s"
        )
    return parser


def _add_request_flags(parser: argparse.ArgumentParser) -> None:
    kinds, readers = get_type_hints(VideoOptions), {int: whole_number, float: decimal_number}
    for name in PLAIN_OPTIONS:
        parser.add_argument("--" + name.replace("_", "-"), type=readers.get(kinds[name], str))


def _options(chosen: argparse.Namespace) -> VideoOptions:
    given = {name: getattr(chosen, name) for name in PLAIN_OPTIONS if getattr(chosen, name) is not None}
    return cast(VideoOptions, given)  # argparse made the kinds right


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
        options=_options(chosen),
        folder=chosen.out,
        state_dir=chosen.state_dir,
        screen=sys.stdout,
    )
    _warn(made.video)
    print(f"prompt         {chosen.prompt}")
    print(f"set-up         {made.setup_s:.1f} s")
    print(f"render         {made.render_s:.1f} s for {made.video.num_frames} frames, seed {made.video.seed}")
    print(f"contact sheet  {made.sheet}")
    print(f"video          {made.path}")
    return 0


def _generate(settings: StackSettings, chosen: argparse.Namespace) -> int:
    bar = ProgressBar(sys.stderr)
    with Client(chosen.url, api_key=_api_key(settings)) as client:
        video = client.create(chosen.prompt, picture=chosen.picture, **_options(chosen))
        print(f"{video.id} accepted, seed {video.seed}", file=sys.stderr)
        _warn(video)
        try:
            video = client.wait(video.id, on_progress=bar.show)
        finally:
            bar.end()
        video.raise_for_failure()
        path = chosen.out or Path(f"{video.id}.mp4")
        client.download(video.id, path)
    print(path)
    return 0


def _status(settings: StackSettings, chosen: argparse.Namespace) -> int:
    with Client(chosen.url, api_key=_api_key(settings), patience_s=0) as client:
        if chosen.video is not None:
            print(json.dumps(client.get(chosen.video).model_dump(mode="json"), indent=2, ensure_ascii=False))
            return 0
        ready, parts = client.readiness()
        print(f"{chosen.url} is {'ready' if ready else 'NOT ready'}: {json.dumps(parts.get('parts', parts))}")
        for line in readiness_lines(parts):
            print(line)
        if ready:
            print("models: " + (", ".join(model["id"] for model in client.models()) or "none yet"))
            for video in islice(client.list_videos(limit=RECENT), RECENT):
                print(_line(video))
        return 0 if ready else 1


def _models(settings: StackSettings, chosen: argparse.Namespace) -> int:
    with Client(chosen.url, api_key=_api_key(settings), patience_s=0) as client:
        for model in client.models():
            print("\n".join(model_lines(model)))
    return 0


def _cancel(settings: StackSettings, chosen: argparse.Namespace) -> int:
    with Client(chosen.url, api_key=_api_key(settings)) as client:
        print(_line(client.cancel(chosen.video)))
    return 0


def _approve(settings: StackSettings, chosen: argparse.Namespace) -> int:
    with Client(chosen.url, api_key=_api_key(settings)) as client:
        print(_line(client.approve(chosen.video, candidate=chosen.candidate, picture=chosen.picture)))
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


def _api_key(settings: StackSettings) -> str | None:
    return settings.api_key.get_secret_value() if settings.api_key else None


def _line(video: Video) -> str:
    return f"{video.id}  {video.state:<10} {video.progress:3} %  {video.prompt or ''}"


def _warn(video: Video) -> None:
    for warning in video.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _complain(sentence: str, status: int) -> int:
    print(f"microcinema: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
