"""The part of the `microcinema` command that speaks to a running service about videos, over HTTP."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeAlias, cast, get_type_hints

from service.cli.arguments import decimal_number, new_file, picture, video_id, whole_number
from service.cli.job_lines import log_lines
from service.cli.model_lines import model_lines
from service.cli.on_record import Commands
from service.cli.operator import readiness_lines
from service.client import (
    Client,
    NotFound,
    Unavailable,
    Unintelligible,
    Video,
    VideoEvent,
    VideoOptions,
    VideoReset,
)
from service.stack.settings import StackSettings
from service.stack.terminal import ProgressBar
from service.supervision.ports import reachable

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
_PICTURE = "PNG, JPEG or WebP, a file or a URL"
Act: TypeAlias = Callable[[Client, argparse.Namespace], int]


def add_video_commands(commands: Commands, settings: StackSettings) -> None:
    """Adds the commands; each is run as `run(settings, chosen)` and answers the exit status."""
    generate = commands.add_parser("generate", help="ask a running service for a video and download it")
    generate.add_argument("prompt")
    generate.add_argument("--picture", type=picture, help=f"to animate: {_PICTURE}")
    remix = commands.add_parser("remix", help="make a video over by another prompt and download it")
    remix.add_argument("video", type=video_id, metavar="VIDEO_ID")
    remix.add_argument("prompt")
    keyframe = remix.add_mutually_exclusive_group()
    keyframe.add_argument("--keep-keyframe", action="store_true", help="animate the old keyframe anew")
    keyframe.add_argument("--picture", type=picture, help=f"to animate instead: {_PICTURE}")
    extend = commands.add_parser("extend", help="go on where a video ends and download the whole film")
    extend.add_argument("video", type=video_id, metavar="VIDEO_ID")
    extend.add_argument("prompt")
    for films, act in ((generate, _generate), (remix, _remix), (extend, _extend)):
        films.add_argument("-o", "--out", type=new_file, help="MP4 to write (default ./<id>.mp4)")
        add_request_flags(films)
        speaks(films, act, settings)

    again = commands.add_parser("reproduce", help="make a video again and say whether it is equal")
    again.add_argument("video", type=video_id, metavar="VIDEO_ID")
    again.add_argument("-o", "--out", type=new_file, help="MP4 to write (default: none)")
    speaks(again, _reproduce, settings)

    status = commands.add_parser("status", help="show the service, or one video")
    status.add_argument("video", nargs="?", type=video_id, metavar="VIDEO_ID")
    speaks(status, _status, settings, patience_s=0)
    speaks(
        commands.add_parser("models", help="list the models and what may be asked of each"),
        _models,
        settings,
        patience_s=0,
    )
    for verb, do, text in (
        ("logs", _logs, "what happened to a video: its tries, their ends, and who was told"),
        ("cancel", _cancel, "stop a video that waits or runs"),
    ):
        named = commands.add_parser(verb, help=text)
        named.add_argument("video", type=video_id, metavar="VIDEO_ID")
        speaks(named, do, settings)

    approve = commands.add_parser("approve", help="choose the keyframe of a video that waits for you")
    approve.add_argument("video", type=video_id, metavar="VIDEO_ID")
    choice = approve.add_mutually_exclusive_group()
    choice.add_argument("--candidate", type=whole_number, help="its number, from 0")
    choice.add_argument("--picture", type=picture, help=f"to animate instead: {_PICTURE}")
    speaks(approve, _approve, settings)


def speaks(
    parser: argparse.ArgumentParser, act: Act, settings: StackSettings, patience_s: float = 30.0
) -> None:
    """Makes `act` what the command does, with a client of the service at --url."""

    def run(settings: StackSettings, chosen: argparse.Namespace) -> int:
        key = settings.api_key.get_secret_value() if settings.api_key else None
        with Client(chosen.url, api_key=key, patience_s=patience_s) as client:
            return act(client, chosen)

    parser.set_defaults(run=run)
    parser.add_argument(
        "--url", default=f"http://{reachable(settings.host)}:{settings.port}", help="%(default)s"
    )


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each of PLAIN_OPTIONS, and one for `webhook_events`; `request_options` reads them."""
    kinds, readers = get_type_hints(VideoOptions), {int: whole_number, float: decimal_number}
    for name in PLAIN_OPTIONS:
        parser.add_argument("--" + name.replace("_", "-"), type=readers.get(kinds[name], str))
    parser.add_argument(
        "--webhook-event",
        action="append",
        dest="webhook_events",
        metavar="TYPE",
        help="--webhook-url hears only of these (video.completed, ...; default: of all); repeat it",
    )


def request_options(chosen: argparse.Namespace) -> VideoOptions:
    """Those flags that were given."""
    names = (*PLAIN_OPTIONS, "webhook_events")
    given = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    return cast(VideoOptions, given)  # argparse made the kinds right


def warn(video: Video) -> None:
    """Say on stderr what the service says that one should know."""
    for warning in video.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _generate(client: Client, chosen: argparse.Namespace) -> int:
    return _film(
        client, client.create(chosen.prompt, picture=chosen.picture, **request_options(chosen)), chosen
    )


def _remix(client: Client, chosen: argparse.Namespace) -> int:
    made = client.remix(
        chosen.video,
        chosen.prompt,
        picture=chosen.picture,
        keep_keyframe=chosen.keep_keyframe,
        **request_options(chosen),
    )
    return _film(client, made, chosen)


def _extend(client: Client, chosen: argparse.Namespace) -> int:
    return _film(client, client.extend(chosen.video, chosen.prompt, **request_options(chosen)), chosen)


def _reproduce(client: Client, chosen: argparse.Namespace) -> int:
    """Exit status 0 for equal frames alone."""
    video = _ended(client, client.reproduce(chosen.video))
    if chosen.out is not None:
        client.download(video.id, chosen.out)
    came_of_it = video.reproduction
    print(f"{video.id}  {came_of_it.in_words if came_of_it else 'says nothing of its original'}")
    return 0 if came_of_it is not None and came_of_it.verdict == "equal" else 1


def _film(client: Client, video: Video, chosen: argparse.Namespace) -> int:
    """Wait for an accepted job and write its file."""
    video = _ended(client, video)
    path = chosen.out or Path(f"{video.id}.mp4")
    client.download(video.id, path)
    print(path)
    return 0


def _ended(client: Client, video: Video) -> Video:
    """Wait for an accepted job; raises RenderFailed if no video comes of it."""
    bar = ProgressBar(sys.stderr)
    print(f"{video.id} accepted, seed {video.seed}", file=sys.stderr)
    warn(video)
    try:
        _follow(client, video, bar)
        video = client.wait(video.id, on_progress=bar.show)
    finally:
        bar.end()
    return video.raise_for_failure()


def _follow(client: Client, video: Video, bar: ProgressBar) -> None:
    """Draw what the service's stream of events says, for as long as there is one: the rest is looked at."""
    with closing(client.events(video.id, previews=False)) as heard:
        try:
            for event in heard:
                if isinstance(event, VideoReset):
                    video = event.video
                elif isinstance(event, VideoEvent):
                    video = event.applied_to(video)
                bar.show(video)
                if video.awaits_approval:
                    return
        except (NotFound, Unavailable, Unintelligible):
            return  # too many streams, or a service or a proxy without


def _status(client: Client, chosen: argparse.Namespace) -> int:
    if chosen.video is not None:
        print(json.dumps(client.get(chosen.video).model_dump(mode="json"), indent=2, ensure_ascii=False))
        return 0
    ready, parts = client.readiness()
    print(f"{chosen.url} is {'ready' if ready else 'NOT ready'}: {json.dumps(parts.get('parts', parts))}")
    for line in readiness_lines(parts):
        print(line)
    if ready:
        print("models: " + (", ".join(model.id for model in client.models()) or "none yet"))
        for video in islice(client.list_videos(limit=RECENT), RECENT):
            print(_line(video))
    return 0 if ready else 1


def _models(client: Client, _: argparse.Namespace) -> int:
    for model in client.models():
        print("\n".join(model_lines(model.model_dump())))
    return 0


def _logs(client: Client, chosen: argparse.Namespace) -> int:
    video = client.get(chosen.video)
    print("\n".join(log_lines(video, client.deliveries(video.id, limit=100))))
    return 0


def _cancel(client: Client, chosen: argparse.Namespace) -> int:
    print(_line(client.cancel(chosen.video)))
    return 0


def _approve(client: Client, chosen: argparse.Namespace) -> int:
    print(_line(client.approve(chosen.video, candidate=chosen.candidate, picture=chosen.picture)))
    return 0


def _line(video: Video) -> str:
    return f"{video.id}  {video.state:<10} {video.progress:3} %  {video.prompt or ''}"
