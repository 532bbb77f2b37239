"""What the local stack is made of, what its children are told, and what a person sees of them."""

import io
import sys

import pytest

from service.client import Video
from service.settings import GatewaySettings
from service.stack.plan import plan_stack
from service.stack.settings import StackSettings
from service.stack.state_folder import StateFolder
from service.stack.terminal import ProgressBar, prefixed_log


@pytest.fixture
def folder(tmp_path):
    with StateFolder(tmp_path / "state") as opened:
        yield opened


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_embedded_valkey_is_started_first_and_everyone_is_told_its_url(folder):
    stack = plan_stack(StackSettings(redis_url=None), folder, host="127.0.0.1", port=8123)
    assert [child.name for child in stack.children] == ["valkey", "gateway", "notifier", "worker"]
    ours = stack.children[1:]
    assert {child.needs for child in ours} == {("valkey",)}
    assert len({child.environment["REDIS_URL"] for child in ours}) == 1
    assert {child.argv[0] for child in ours} == {sys.executable}
    assert stack.url == "http://127.0.0.1:8123"


def test_all_children_share_storage_address_and_webhook_secret(folder):
    children = plan_stack(StackSettings(redis_url=None), folder, host="0.0.0.0", port=8123).children[1:]
    shared = ("STORAGE_DIR", "PUBLIC_BASE_URL", "WEBHOOK_SECRET", "PORT", "HOST")
    seen = [{name: child.environment[f"MICROCINEMA_{name}"] for name in shared} for child in children]
    assert seen[0] == seen[1] == seen[2]
    assert seen[0]["PUBLIC_BASE_URL"] == "http://127.0.0.1:8123"
    assert seen[0]["HOST"] == "0.0.0.0"
    assert seen[0]["WEBHOOK_SECRET"].startswith("whsec_")


def test_where_others_can_reach_the_gateway_it_is_given_a_first_key(folder):
    stack = plan_stack(StackSettings(redis_url=None), folder, host="0.0.0.0", port=8123)
    keys = {child.name: child.environment.get("MICROCINEMA_BOOTSTRAP_KEY") for child in stack.children[1:]}
    assert GatewaySettings(bootstrap_key=keys["gateway"]).bootstrap_key is not None  # long enough
    assert keys["gateway"].startswith("mck_")
    assert (keys["notifier"], keys["worker"]) == (None, None)
    assert stack.key_file.read_text() == keys["gateway"]
    assert stack.key_file.stat().st_mode & 0o077 == 0
    assert stack.greeting.endswith(f"it asks for an API key, the first is in {stack.key_file}")


def test_nobody_makes_a_key_on_loopback_or_beside_one_of_the_settings(folder):
    for settings, host in (
        (StackSettings(redis_url=None), "127.0.0.1"),
        (StackSettings(redis_url=None, bootstrap_key="b" * 32), "0.0.0.0"),
    ):
        stack = plan_stack(settings, folder, host=host, port=8123)
        assert all("MICROCINEMA_BOOTSTRAP_KEY" not in child.environment for child in stack.children[1:])
        assert stack.key_file is None
        assert "API key" not in stack.greeting


def test_a_redis_of_ones_own_is_used_instead(folder, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/3")
    stack = plan_stack(StackSettings(), folder, host="127.0.0.1", port=8123)
    assert [child.name for child in stack.children] == ["gateway", "notifier", "worker"]
    assert {child.environment["REDIS_URL"] for child in stack.children} == {"redis://elsewhere:6379/3"}
    assert all(not child.needs for child in stack.children)


def test_a_variable_that_was_set_by_hand_is_respected(folder, monkeypatch):
    monkeypatch.setenv("MICROCINEMA_STORAGE", "s3")
    stack = plan_stack(StackSettings(), folder, host="127.0.0.1", port=8123)
    assert {child.environment["MICROCINEMA_STORAGE"] for child in stack.children[1:]} == {"s3"}


def test_several_workers_share_out_the_listed_gpus_and_never_a_probe_port(folder):
    settings = StackSettings(redis_url=None, cuda_visible_devices="2, 5")
    stack = plan_stack(settings, folder, host="127.0.0.1", port=8123, workers=3)
    workers = [child for child in stack.children if child.name.startswith("worker")]
    assert [child.name for child in workers] == ["worker-0", "worker-1", "worker-2"]
    assert [child.environment["CUDA_VISIBLE_DEVICES"] for child in workers] == ["2", "5", "2"]
    assert len({child.environment["MICROCINEMA_PROBE_PORT"] for child in workers}) == 3


def test_a_gateway_that_does_not_answer_is_not_ready(folder):
    stack = plan_stack(StackSettings(redis_url=None), folder, host="127.0.0.1", port=1)
    gateway = next(child for child in stack.children if child.name == "gateway")
    assert not gateway.is_ready()


def _video(progress: int, stage: str | None) -> Video:
    return Video(
        id="v",
        status="in_progress",
        state="running",
        progress=progress,
        stage=stage,
        num_frames=1,
        fps=1,
        seed=1,
    )


def test_progress_is_one_rewritten_line_on_a_terminal_and_few_lines_elsewhere():
    watched, plain = Terminal(), io.StringIO()
    for out in (watched, plain):
        bar = ProgressBar(out)
        for progress in range(30):
            bar.show(_video(progress, "text_to_image"))
        bar.show(_video(30, None))
        bar.end()
    assert watched.getvalue().count("\n") == 1
    assert watched.getvalue().count("\r") == 31
    final = watched.getvalue().rpartition("\r")[2]
    assert final.rstrip() == "█" * 9 + "░" * 21 + "  30 %  running"
    assert len(final) - 1 >= len(
        "█" * 30 + "  29 %  text_to_image"
    )  # the longer line before it is painted over
    lines = ["  0 %  text_to_image", " 10 %  text_to_image", " 20 %  text_to_image", " 30 %  running"]
    assert plain.getvalue().splitlines() == lines


def test_every_log_line_says_whose_it_is():
    watched, plain = Terminal(), io.StringIO()
    for out in (watched, plain):
        show = prefixed_log(out)
        show("gateway", "listening")
        show("worker", "loading")
        show("gateway", "again")
    assert plain.getvalue() == "gateway    | listening\nworker     | loading\ngateway    | again\n"
    colours = [line.split("m")[0] for line in watched.getvalue().splitlines()]
    assert colours[0] == colours[2] != colours[1]
