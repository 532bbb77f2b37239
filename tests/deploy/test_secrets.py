"""`deploy/secrets.sh`: what compose and Kubernetes start with is filled in, new each time, and never lost."""

import re
import stat
import subprocess
from pathlib import Path

import pytest
from rig.compose_file import Compose
from rig.processes import ROOT

from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings

OVERLAYS = sorted(ROOT.glob("deploy/kubernetes/overlays/*/secrets.env.example"))
#: What is made anew each time, by the file that asks for it.
COMPOSE = {"VALKEY_PASSWORD", "S3_SECRET_KEY", "WEBHOOK_SECRET", "API_KEY", "GRAFANA_PASSWORD"}
CLUSTER = {"VALKEY_PASSWORD", "REDIS_URL", "MICROCINEMA_WEBHOOK_SECRET", "MICROCINEMA_BOOTSTRAP_KEY"}


def made(example: Path, file: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(ROOT / "deploy/secrets.sh"), str(example), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def values(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.M))


@pytest.mark.parametrize(
    ("example", "fresh"),
    [(ROOT / "deploy/env.example", COMPOSE), *((overlay, CLUSTER) for overlay in OVERLAYS)],
    ids=lambda given: given.parent.name if isinstance(given, Path) else "",
)
def test_each_secret_is_new_and_everything_else_is_the_examples(
    example: Path, fresh: set[str], tmp_path: Path
) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    for file in files:
        done = made(example, file)
        assert (done.returncode, done.stderr) == (0, "")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first, second, asked = (values(file) for file in (*files, example))
    assert {name for name in asked if first[name] != asked[name]} == fresh
    assert {name for name in asked if first[name] != second[name]} == fresh
    assert len({first[name] for name in fresh}) == len(fresh)
    assert min(len(first[name]) for name in fresh) >= 48
    blank = re.compile(r"^(\w+)=.*$", re.M)
    assert blank.sub(r"\1=", files[0].read_text()) == blank.sub(r"\1=", example.read_text())


def test_a_gateway_and_a_notifier_can_use_them(tmp_path: Path) -> None:
    made(OVERLAYS[0], tmp_path / "secrets.env")
    told = values(tmp_path / "secrets.env")
    assert told["REDIS_URL"] == f"redis://:{told['VALKEY_PASSWORD']}@valkey:6379/0"
    key = GatewaySettings(bootstrap_key=told["MICROCINEMA_BOOTSTRAP_KEY"]).bootstrap_key
    assert key is not None
    assert key.get_secret_value().startswith("mck_")
    NotifierSettings(webhook_secret=told["MICROCINEMA_WEBHOOK_SECRET"]).signer()


def test_compose_lacks_nothing_then_and_its_gateway_has_the_key(tmp_path: Path) -> None:
    made(ROOT / "deploy/env.example", tmp_path / ".env")
    answers = values(tmp_path / ".env")
    compose = Compose(
        answers, dict.fromkeys(("6379", "8333", "8000", "9100", "9200", "9090", "3000"), "1"), tmp_path
    )
    containers = {name: compose.container(name) for name in compose.services}
    assert containers["gateway"].environment["MICROCINEMA_BOOTSTRAP_KEY"] == answers["API_KEY"]
    assert answers["VALKEY_PASSWORD"] in containers["valkey"].argv


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("API_KEY=mine\n")
    done = made(ROOT / "deploy/env.example", file)
    assert (done.returncode, file.read_text()) == (1, "API_KEY=mine\n")
    assert "is there already" in done.stderr


def test_it_says_where_the_key_is_and_what_it_could_not_know(tmp_path: Path) -> None:
    said = made(OVERLAYS[0], tmp_path / "secrets.env").stdout
    assert "the first API key is MICROCINEMA_BOOTSTRAP_KEY in it" in said
    assert "AWS_ACCESS_KEY_ID= is yours to fill in" in said
    assert values(tmp_path / "secrets.env")["MICROCINEMA_BOOTSTRAP_KEY"] not in said
