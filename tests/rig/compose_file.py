"""docker-compose.yml and the Dockerfiles, read as what each container would run, moved to one host.

A container's name becomes 127.0.0.1, its ports free ones, its volumes folders; nothing else is changed or
added, so that a command, a variable or a port that is wrong in the file is wrong here too. The gateway alone
goes on listening on all addresses, as it asks for keys there only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rig.processes import ROOT

#: What the images run where the file says nothing; ours are read from their Dockerfiles.
IMAGES: Mapping[str, list[str]] = {
    "prom/prometheus": [
        "prometheus",
        "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus",
        "--web.listen-address=0.0.0.0:9090",
    ],
    "chrislusf/seaweedfs": ["weed"],
    "valkey/valkey": [],
}
#: Ports that containers listen on without its being written anywhere in the file.
DEFAULT_PORTS = {"6379": "valkey"}


@dataclass(frozen=True)
class Container:
    """One service as it would run. `health`: the command that asks it, [] if there is none.

    `read_only`: its root is; `volumes`: the folders of this host that it may write to all the same.
    """

    name: str
    argv: list[str]
    environment: dict[str, str]
    health: list[str]
    waits_for: list[str]
    read_only: bool = False
    volumes: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Compose:
    """`answers`: the variables of .env. `ports`: by the container's number. `folder`: where volumes lie."""

    answers: Mapping[str, str]
    ports: Mapping[str, str]
    folder: Path
    text: str = field(default_factory=(ROOT / "docker-compose.yml").read_text)

    @property
    def services(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.text)["services"]
        return found

    def container(self, name: str) -> Container:
        """The service `name`; KeyError if there is none, ValueError for a required variable without value."""
        service = self.services[name]
        built = _dockerfile(service["build"]) if "build" in service else {}
        image = service["image"].split(":")[0]
        start = built.get("ENTRYPOINT") or IMAGES.get(image, [])
        command = service.get("command", built.get("CMD", []))
        given = {**built.get("ENV", {}), **service.get("environment", {})}
        health = service.get("healthcheck", {}).get("test") or built.get("HEALTHCHECK", [])
        mounts = dict(self._mounts(service))

        def here(word: object) -> str:
            at = self.here(str(word), mounts)
            return at if name == "gateway" else at.replace("0.0.0.0", "127.0.0.1")

        return Container(
            name,
            [here(word) for word in (*start, *command)],
            {key: here(value) for key, value in given.items()},
            [here(word) for word in health],
            list(service.get("depends_on", [])),
            bool(service.get("read_only")),
            tuple(Path(source) for source in mounts.values() if Path(source).is_relative_to(self.folder)),
        )

    def here(self, word: str, mounts: Mapping[str, str]) -> str:
        """A word of the file as it must read on this host."""
        word = self._answered(word)
        for target, source in mounts.items():
            word = re.sub(rf"(^|=){re.escape(target)}(?=/|$)", rf"\g<1>{source}", word)
        names = "|".join(map(re.escape, sorted(self.services, key=len, reverse=True)))
        word = re.sub(rf"(?<![\w.-])(?:{names})(?=:\d)|(?<=-ip=)(?:{names})$", "127.0.0.1", word)
        ports = "|".join(self.ports)
        return re.sub(rf"(?<![\w.])({ports})(?![\w.])", lambda match: self.ports[match[1]], word)

    def _answered(self, word: str) -> str:
        def answer(match: re.Match[str]) -> str:
            name, how, rest = match[1], match[2], match[3]
            if value := self.answers.get(name):
                return value
            if how == ":?":
                raise ValueError(f"{name}: {rest}")
            return rest

        return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", answer, word)

    def _mounts(self, service: Mapping[str, Any]) -> Any:
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                yield target, str((ROOT / source).resolve())
            else:
                (self.folder / source).mkdir(parents=True, exist_ok=True)
                yield target, str(self.folder / source)


def container_ports(text: str) -> set[str]:
    """Every port that a container of the file listens on."""
    published = re.findall(r"127\.0\.0\.1:\d+:(\d+)", text)
    set_by_variable = re.findall(r"_PORT: \"(\d+)\"", text)
    return {*published, *set_by_variable, *DEFAULT_PORTS}


def _dockerfile(build: Mapping[str, Any]) -> dict[str, Any]:
    """ENTRYPOINT, CMD and HEALTHCHECK as lists and ENV as a mapping, of the last stage."""
    text = (ROOT / build["context"] / build["dockerfile"]).read_text()
    last = re.sub(r"\\\n", " ", text.split("\nFROM ")[-1])
    found: dict[str, Any] = {}
    for word in ("ENTRYPOINT", "CMD"):
        if match := re.search(rf"^{word} (\[.*\])$", last, re.M):
            found[word] = json.loads(match[1])
    if match := re.search(r"^HEALTHCHECK .*?CMD (\[.*\])\s*$", last, re.M):
        found["HEALTHCHECK"] = ["CMD", *json.loads(match[1])]
    pairs = " ".join(re.findall(r"^ENV (.*)$", last, re.M))
    found["ENV"] = {key: value for key, value in re.findall(r"(\w+)=(\S+)", pairs) if key != "PATH"}
    return found
