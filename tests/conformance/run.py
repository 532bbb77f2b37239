"""`make conformance`: unmodified clients, each in its own venv, against the service over real sockets."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.page import FAIL, publish
from conformance.scene import Scene, running_scene

SCRIPTS = Path(__file__).parent.absolute() / "clients"
LONGEST_S = 600


@dataclass(frozen=True)
class Client:
    """A published package, pinned or (without a version) the newest, and the script that drives it.

    A `heavy` one is run only where it is named: it takes more than a gigabyte.
    """

    package: str
    version: str | None
    script: str
    heavy: bool = False

    @property
    def name(self) -> str:
        return f"{self.package} {self.version or 'newest'}"

    def home(self, folder: Path) -> Path:
        """Where it is kept between runs."""
        return (folder / self.name.replace(" ", "-")).absolute()

    def install(self, folder: Path) -> list[str]:
        """The start of a command line that runs a script with this client and nothing of ours.

        A pinned version is installed once; the newest is looked up each time.
        """
        home = self.home(folder)
        python, installed = str(home / "bin" / "python"), home / ".installed"
        if not (home / "bin" / "python").exists():
            venv.create(home, with_pip=True)
        if self.version is None or not installed.exists():
            quiet = ["--quiet", "--disable-pip-version-check", "--upgrade"]
            wanted = f"{self.package}=={self.version}" if self.version else self.package
            subprocess.run([python, "-I", "-m", "pip", "install", *quiet, wanted], check=True)
            installed.touch()
        return [python, "-I"]  # -I: PYTHONPATH, by which ours are found, is not read

    def installed_version(self, folder: Path) -> str:
        """As the package itself says."""
        asked = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return self.version or _said([str(self.home(folder) / "bin" / "python"), "-I", "-c", asked])


@dataclass(frozen=True)
class NodeClient(Client):
    """A package of npm, the newest that the Node.js of this machine can run."""

    @property
    def name(self) -> str:
        return f"npm {self.package} {self.version or 'newest'}"

    def install(self, folder: Path) -> list[str]:
        home = self.home(folder)
        home.mkdir(parents=True, exist_ok=True)
        wanted = f"{self.package}@{self.version or 'latest'}"
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", home, wanted], check=True
        )
        return ["node"]

    def installed_version(self, folder: Path) -> str:
        package = self.home(folder) / "node_modules" / self.package / "package.json"
        return str(json.loads(package.read_text())["version"])


def _said(argv: Sequence[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


#: 2.2.0 is the first with `client.videos`, 2.26.0 the last that sends JSON, 2.27.0 the first that never does.
OPENAI_VERSIONS = ("2.2.0", "2.26.0", "2.27.0", "2.54.0", None)
CLIENTS = {
    client.name: client
    for client in (
        *(Client("openai", version, "openai_python.py") for version in OPENAI_VERSIONS),
        NodeClient("openai", None, "openai_node.mjs"),
        Client("replicate", None, "replicate_python.py"),
        Client("standardwebhooks", None, "standard_webhooks.py"),
        Client("schemathesis", None, "schemathesis_fuzz.py"),
        Client("aiperf", None, "aiperf_profile.py", heavy=True),
    )
}


def ask(client: Client, runner: Sequence[str], scene: Scene, venvs: Path) -> dict[str, dict[str, str]]:
    """What every call of this client came to; a script that did not end well is one failed call."""
    told = scene.describe()
    argv, home = [*runner, str(SCRIPTS / client.script), str(told)], client.home(venvs)
    ran = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=LONGEST_S, cwd=home)
    if ran.returncode != 0:
        return {"the script itself": {"verdict": FAIL, "said": ran.stderr[-300:]}}
    answers: dict[str, dict[str, str]] = json.loads(ran.stdout)
    return answers


def without_npm(names: Sequence[str]) -> list[str]:
    """Those of the clients that cannot run here, said loudly: no npm. In CI that is a failure."""
    if shutil.which("npm") is not None:
        return []
    missing = [name for name in names if isinstance(CLIENTS[name], NodeClient)]
    for name in missing:
        sys.stdout.write(f"{name}: NOT RUN: no npm here; its last report stands\n")
    return missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if any call failed; a route that is missing is written down and is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    usual = [name for name, client in CLIENTS.items() if not client.heavy]
    parser.add_argument("clients", nargs="*", default=usual, help="names; left out: all but heavy ones")
    parser.add_argument("--venvs", type=Path, default=Path(".conformance"))
    parser.add_argument("--results", type=Path, default=Path("docs/compatibility.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/compatibility.md"))
    chosen = parser.parse_args(arguments)
    from models.nano import write_nano  # torch: seconds that --help need not wait for

    missing = without_npm(chosen.clients)
    clients = [name for name in chosen.clients if name not in missing]
    runners = {name: CLIENTS[name].install(chosen.venvs) for name in clients}
    versions = {name: CLIENTS[name].installed_version(chosen.venvs) for name in clients}
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="microcinema-conformance-") as name:
        folder = Path(name)
        write_nano(folder / "nano")
        with running_scene(folder, folder / "nano") as scene:
            for each, runner in runners.items():
                calls = ask(CLIENTS[each], runner, scene, chosen.venvs)
                report[each] = {"version": versions[each], "calls": calls}
                for call, answer in calls.items():
                    sys.stdout.write(f"{each}: {call}: {answer['verdict']} {answer['said']}\n")
                sys.stdout.flush()
    publish(report, chosen.results, chosen.page)
    verdicts = [answer["verdict"] for each in report.values() for answer in each["calls"].values()]
    return int(FAIL in verdicts or bool(missing and os.environ.get("CI")))


if __name__ == "__main__":
    sys.exit(main())
