"""Which processes make a whole service on one machine, and what each is told."""

import ssl
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import httpx

from service.auth import is_loopback
from service.contracts.api_key import PREFIX
from service.contracts.environment import check_settings
from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from service.stack.embedded import embedded_valkey
from service.stack.settings import StackSettings, child_environment
from service.stack.state_folder import StateFolder
from service.stack.storage import ARTIFACTS
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from service.supervision.child_process import Child
from service.supervision.ports import free_ports, reachable
from service.tracing import TraceSettings

PROBE_TIMEOUT_S = 1.0
#: Probes are plain HTTP: reading the world's certificates would cost more than a look.
_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
#: The secret of the state folder that is the gateway's first API key.
FIRST_KEY = "api-key"
#: A worker that is told to stop finishes the video in its hands first.
WORKER_GRACE_S = 600.0


class WorkerMissing(RuntimeError):
    """This installation cannot render: it is a gateway's."""


@dataclass(frozen=True)
class Stack:
    """The children in the order in which they start, and the address clients use."""

    children: tuple[Child, ...]
    url: str
    key_file: Path | None = None

    @property
    def greeting(self) -> str:
        """What a person reads once all is up; `key_file` has the key that was made for the gateway."""
        key = "" if self.key_file is None else f"; it asks for an API key, the first is in {self.key_file}"
        return f"MicroCinema is ready: {self.url} (API at {self.url}/docs){key}"


def check_stack() -> None:
    """Every fault of the variables that `up`, its gateway and its notifier read, all in one UnusableSettings.

    The worker's own are said by the worker: nothing here may know it.
    """
    check_settings(
        *(StackSettings, StorageSettings, TraceSettings, RedisSettings, GatewaySettings, NotifierSettings),
        given=("REDIS_URL", "MICROCINEMA_WEBHOOK_SECRET"),
    )


def plan_stack(
    settings: StackSettings, folder: StateFolder, *, host: str, port: int, workers: int = 1
) -> Stack:
    """Valkey unless REDIS_URL names a server, gateway, notifier and `workers` (>= 1) GPU workers.

    Where other machines can reach the gateway, it is given a first API key unless the settings have one.

    Raises EmbeddedValkeyMissing when there is neither REDIS_URL nor an embedded server for this machine, and
    WorkerMissing without the `worker` extra.
    """
    if find_spec("torch") is None:  # looks, does not import
        raise WorkerMissing("a worker needs torch: run `pip install 'microcinema[worker]'`")
    valkey_port, *probe_ports = free_ports(1 + workers)
    url = f"http://{reachable(host)}:{port}"
    defaults = {
        "PYTHONUNBUFFERED": "1",
        # torch's threads would spin while they wait for each other: with anything else running beside them, a
        # video took eleven times as long
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",  # weights are local; nobody waits for a hub that is not asked for anything
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MICROCINEMA_LOG_FORMAT": "human",
        "MICROCINEMA_STORAGE": "files",
        "MICROCINEMA_STORAGE_DIR": str(folder.folder(ARTIFACTS)),
        "MICROCINEMA_PUBLIC_BASE_URL": url,
        "MICROCINEMA_CREDENTIALS_DIR": str(folder.path / "credentials"),
        "MICROCINEMA_WEBHOOK_SECRET": folder.secret("webhook", prefix="whsec_"),
    }
    fixed = {"MICROCINEMA_HOST": host, "MICROCINEMA_PORT": str(port)}
    server: tuple[Child, ...] = ()
    if settings.redis_url is None:
        valkey, fixed["REDIS_URL"] = embedded_valkey(
            folder.folder("valkey"),
            port=valkey_port,
            password=folder.secret("valkey"),
            lock_fd=folder.lock_fd,
        )
        server = (valkey,)
    needs = tuple(child.name for child in server)
    first_key: dict[str, str] = {}
    key_file = None
    if not is_loopback(host) and settings.bootstrap_key is None:
        first_key["MICROCINEMA_BOOTSTRAP_KEY"] = folder.secret(FIRST_KEY, prefix=PREFIX)
        key_file = folder.secret_file(FIRST_KEY)
    gateway = Child(
        name="gateway",
        argv=_python("service.main"),
        environment=child_environment(defaults=defaults | first_key, fixed=fixed),
        is_ready=partial(_says_ready, f"{url}/readyz"),
        needs=needs,
    )
    notifier = Child(
        name="notifier",
        argv=_python("service.notifier.main"),
        environment=child_environment(defaults=defaults, fixed=fixed),
        is_ready=lambda: True,  # it has no socket to ask, and nobody waits for it
        needs=needs,
    )
    gpu_workers = [
        Child(
            name="worker" if workers == 1 else f"worker-{number}",
            argv=_python("worker.main"),
            environment=child_environment(
                defaults=defaults,
                fixed={
                    **fixed,
                    **_device(settings.cuda_visible_devices, number, workers),
                    "MICROCINEMA_PROBE_PORT": str(probe_port),
                },
            ),
            is_ready=partial(_says_ready, f"http://127.0.0.1:{probe_port}/readyz"),
            needs=needs,
            grace_s=WORKER_GRACE_S,
        )
        for number, probe_port in enumerate(probe_ports)
    ]
    return Stack((*server, gateway, notifier, *gpu_workers), url, key_file)


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


def _device(listed: str | None, number: int, workers: int) -> dict[str, str]:
    """One process, one GPU: several workers share out the listed devices in turn."""
    names = [name.strip() for name in (listed or "").split(",") if name.strip()]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]} if names and workers > 1 else {}


def _says_ready(url: str) -> bool:
    try:
        answer = httpx.get(url, timeout=PROBE_TIMEOUT_S, verify=_PLAIN, trust_env=False)
        return answer.status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
