"""What `make stack-test` reads out of the compose file: each container's command, moved to one host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rig.compose_file import Compose, container_ports
from rig.compose_stack import NOT_STARTED, ON_GPUS, ORDER, answers
from rig.image_packages import GATEWAY, WORKER, copied, steps
from rig.processes import ROOT
from rig.walls import image_user

from worker.provenance.certificate import own_certificate
from worker.settings import WorkerSettings

DOCKERFILE = (ROOT / "Dockerfile.cuda").read_text()

PORTS = {
    "6379": "1001",
    "8333": "1002",
    "8000": "1003",
    "9100": "1004",
    "9200": "1005",
    "9090": "1006",
    "3000": "1",
}


@pytest.fixture
def compose(tmp_path):
    return Compose(answers(), PORTS, tmp_path)


def test_every_port_of_the_file_is_found(compose):
    assert container_ports(compose.text) == set(PORTS)


def test_every_service_is_started_or_named_as_not(compose):
    assert set(compose.services) == {*ORDER, ON_GPUS, *NOT_STARTED}


def test_names_and_ports_become_this_hosts(compose):
    gateway = compose.container("gateway")
    password = compose.answers["VALKEY_PASSWORD"]
    assert gateway.environment["REDIS_URL"] == f"redis://:{password}@127.0.0.1:1001/0"
    assert gateway.environment["S3_ENDPOINT_URL"] == "http://127.0.0.1:1002"
    assert (gateway.environment["MICROCINEMA_HOST"], gateway.environment["MICROCINEMA_PORT"]) == (
        "0.0.0.0",
        "1003",
    )
    assert gateway.environment["MICROCINEMA_BOOTSTRAP_KEY"] == compose.answers["API_KEY"]
    assert gateway.argv == ["python", "-m", "service.main"]  # the Dockerfile's own
    assert "http://127.0.0.1:1003/readyz" in gateway.health[-1]
    assert compose.container("s3").argv[:2] == ["weed", "mini"]


def test_volumes_become_folders(compose, tmp_path):
    worker = compose.container("worker-cpu")
    assert worker.environment["MICROCINEMA_SPOOL_DIR"] == str(tmp_path / "spool")
    assert worker.environment["MICROCINEMA_PROBE_PORT"] == "1004"
    assert "127.0.0.1:1004/livez" in worker.health[-1]
    assert f"-dir={tmp_path / 'videos'}" in compose.container("s3").argv


def test_the_next_container_signs_by_the_same_certificate(compose, tmp_path):
    """A folder below the volume: nothing can be moved onto the place where a volume is mounted."""
    worker = compose.container("worker-cpu")
    folder = Path(worker.environment["MICROCINEMA_CREDENTIALS_DIR"])
    assert folder.parent == tmp_path / "credentials"
    settings = WorkerSettings(
        credentials_dir=folder, credentials_chain=worker.environment["MICROCINEMA_CREDENTIALS_CHAIN"]
    )
    assert settings.credentials_chain is None, "left empty is not named"
    assert own_certificate(settings.credentials_dir) == own_certificate(settings.credentials_dir)
    made = re.search(r"install --directory --owner=microcinema (.*?)\nCOPY", DOCKERFILE, re.S)
    assert made, "a new volume gets the owner of the image's folder"
    mounts = [volume.split(":")[1] for volume in compose.services["worker-cpu"]["volumes"]]
    assert set(made[1].replace("\\\n", " ").split()) == set(mounts)


def test_what_runs_our_code_has_a_read_only_root_and_its_volumes(compose, tmp_path):
    ours = {name for name, service in compose.services.items() if "build" in service}
    assert {name for name in compose.services if compose.container(name).read_only} == ours
    assert set(compose.container("worker-cpu").volumes) == {
        tmp_path / name for name in ("weights", "spool", "credentials")
    }
    assert compose.container("gateway").volumes == ()
    assert image_user() == 10001


def test_the_notifier_is_the_gateways_image_with_another_command(compose):
    assert compose.container("notifier").argv == ["python", "-m", "service.notifier.main"]


def test_a_required_answer_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="VALKEY_PASSWORD: set it in"):
        Compose({**answers(), "VALKEY_PASSWORD": ""}, PORTS, tmp_path).container("valkey")


def test_the_gateway_image_installs_the_service_alone():
    taken = copied(GATEWAY.dockerfile)
    assert {"pyproject.toml", "service", "deploy/locks/gateway.txt"} <= taken
    assert not {"worker", "models"} & taken


@pytest.mark.parametrize("image", [GATEWAY, WORKER], ids=lambda image: image.name)
def test_every_install_of_an_image_is_replayed(image):
    """A step that the reader of Dockerfiles passed over would be replayed by nobody."""
    runs = " ".join(rest for word, rest in steps(image.dockerfile) if word == "RUN")
    text = (ROOT / image.dockerfile).read_text()
    assert runs.count("pip install") == text.count("pip install") >= 2
    assert "--mount" not in runs
    assert set(image.arguments or ()) <= {
        rest.split("=")[0] for word, rest in steps(image.dockerfile) if word == "ARG"
    }
