"""The manifests as `kubectl kustomize` renders them, held to Kubernetes' and the operators' own schemas.

No cluster was there: what is checked is form, names, and that what the documents promise is in them.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(folder.name for folder in (SOURCE / "overlays").iterdir())
CORE_VERSION = "1.37"
PORTS = {"gateway": 8000, "notifier": 9200, "worker": 9100}
PROBES = {
    "gateway": {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"},
    "worker": {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"},
    "notifier": {"startupProbe": "/metrics", "livenessProbe": "/metrics"},
}
Manifest = dict[str, Any]


@cache
def _kustomize_5() -> bool:
    if shutil.which("kubectl") is None:
        return False
    told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False)
    return "Kustomize Version: v5" in told.stdout


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """All manifests of one overlay, its secrets filled in as its example says."""
    if not _kustomize_5():
        pytest.skip("needs a kubectl that brings kustomize 5 (Debian's own is too old)")
    folder = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(SOURCE, folder)
    overlay = folder / "overlays" / request.param
    example = (overlay / "secrets.env.example").read_text()
    (overlay / "secrets.env").write_text(re.sub(r"^(\w+)=$", r"\1=secret", example, flags=re.M))
    told = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return list(yaml.safe_load_all(told.stdout))


def of(rendered: list[Manifest], kind: str, name: str | None = None) -> list[Manifest]:
    found = [one for one in rendered if one["kind"] == kind]
    return found if name is None else [one for one in found if one["metadata"]["name"] == name]


def pods(rendered: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name, pod spec and its container of everything that runs."""
    for kind in ("Deployment", "StatefulSet"):
        for one in of(rendered, kind):
            spec = one["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            yield one["metadata"]["name"], spec, container


def environment(container: Manifest) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env", [])}


def test_core_kinds_follow_kubernetes_schemas_to_the_last_key(rendered):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    checked = 0
    for manifest in rendered:
        if "." not in manifest["apiVersion"].split("/")[0] or ".k8s.io" in manifest["apiVersion"]:
            validate.validate(manifest, CORE_VERSION, strict=True)
            checked += 1
    assert checked > 15


def test_a_misspelt_key_would_be_found(rendered):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    worker = json.loads(json.dumps(of(rendered, "Deployment", "worker")[0]))
    worker["spec"]["template"]["spec"]["terminationGraceSeconds"] = 60
    with pytest.raises(validate.ValidationError):
        validate.validate(worker, CORE_VERSION, strict=True)


def test_the_operators_kinds_follow_their_schemas(rendered):
    keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1", reason="cloudcoil models are not installed")
    operator = pytest.importorskip("cloudcoil.models.prometheus_operator.v1")
    classes = {
        "ScaledObject": keda.ScaledObject,
        "ServiceMonitor": operator.ServiceMonitor,
        "PrometheusRule": operator.PrometheusRule,
    }
    for manifest in rendered:
        if (kind := manifest["kind"]) in classes:
            kept = classes[kind].model_validate(manifest)
            # The models pass over keys that they do not know: what is written back must be all of it.
            assert kept.model_dump(mode="json", by_alias=True, exclude_unset=True) == manifest


def test_everything_runs_without_rights_it_does_not_need(rendered):
    for name, spec, container in pods(rendered):
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"], name
        assert rights["allowPrivilegeEscalation"] is False, name
        assert rights["capabilities"] == {"drop": ["ALL"]}, name
        assert "memory" in container["resources"]["limits"], name


def test_probes_ask_the_right_endpoints(rendered):
    for name, _, container in pods(rendered):
        if name in PROBES:
            (port,) = container["ports"]
            assert port["containerPort"] == PORTS[name]
            asked = {
                kind: probe["httpGet"]["path"] for kind, probe in container.items() if kind.endswith("Probe")
            }
            assert asked == PROBES[name]
            assert all(
                probe["httpGet"]["port"] == port["name"]
                for kind, probe in container.items()
                if kind.endswith("Probe")
            )
            own = environment(container).values()
            assert {"0.0.0.0", str(PORTS[name])} <= set(own), "it listens where it is asked"


def test_a_worker_has_time_to_leave(rendered):
    ((_, spec, container),) = [pod for pod in pods(rendered) if pod[0] == "worker"]
    own = environment(container)
    grace = spec["terminationGracePeriodSeconds"]
    drain, spool, every = (
        float(own[f"MICROCINEMA_{name}"]) for name in ("DRAIN_GRACE_S", "SPOOL_DRAIN_S", "CHECKPOINT_EVERY_S")
    )
    assert drain + spool + 8 <= grace, "a step, storing the clip, handing the job back"
    assert every <= drain, "what a kill without notice costs is less than what a notice gives"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_gateways_leave_rotation_before_they_stop(rendered):
    ((_, spec, container),) = [pod for pod in pods(rendered) if pod[0] == "gateway"]
    slept = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert slept + 30 <= spec["terminationGracePeriodSeconds"]


def test_every_variable_is_one_that_somebody_reads(rendered):
    classes: tuple[type[BaseSettings], ...] = (
        GatewaySettings,
        NotifierSettings,
        RedisSettings,
        StorageSettings,
        WorkerSettings,
    )
    read = {"HOME", "VALKEY_PASSWORD"}
    for settings in classes:
        for name, field in settings.model_fields.items():
            alias = field.validation_alias
            prefix = settings.model_config["env_prefix"]
            read.add(alias if isinstance(alias, str) else prefix + name.upper())
    given = {name for _, _, container in pods(rendered) for name in environment(container)}
    for kind in ("ConfigMap", "Secret"):
        for one in of(rendered, kind):
            given |= set(one["data"])
    assert given <= read


def test_one_certificate_signs_for_all_workers_where_the_component_is_taken(tmp_path):
    if not _kustomize_5():
        pytest.skip("needs a kubectl that brings kustomize 5 (Debian's own is too old)")
    folder = tmp_path / "kubernetes"
    shutil.copytree(SOURCE, folder)
    overlay = folder / "overlays/one-gpu"
    (overlay / "secrets.env").write_text("REDIS_URL=secret\n")
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("components: [../../credentials]\n")
    for name in ("chain.pem", "key.pem"):
        (folder / "credentials" / name).write_text("PEM")
    told = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    rendered = list(yaml.safe_load_all(told.stdout))
    ((_, spec, container),) = [pod for pod in pods(rendered) if pod[0] == "worker"]
    (secret,) = [one for one in of(rendered, "Secret") if set(one["data"]) == {"chain.pem", "key.pem"}]
    (volume,) = [one for one in spec["volumes"] if one.get("secret")]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
    own = environment(container)
    assert own["MICROCINEMA_CREDENTIALS_CHAIN"] == f"{mount['mountPath']}/chain.pem"
    assert own["MICROCINEMA_CREDENTIALS_KEY"] == f"{mount['mountPath']}/key.pem"


def test_what_is_referred_to_exists(rendered):
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "StatefulSet")
        for one in of(rendered, kind)
    ]
    chosen = [one["spec"]["selector"] for one in of(rendered, "Service")]
    chosen += [one["spec"]["selector"]["matchLabels"] for one in of(rendered, "PodDisruptionBudget")]
    for selector in chosen:
        assert any(selector.items() <= label.items() for label in labels), selector
    services = {one["metadata"]["name"]: one for one in of(rendered, "Service")}
    for monitor in of(rendered, "ServiceMonitor"):
        service = services[monitor["metadata"]["name"]]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= ports
    targets = [one["spec"]["scaleTargetRef"]["name"] for one in of(rendered, "ScaledObject")]
    targets += [one["spec"]["scaleTargetRef"]["name"] for one in of(rendered, "HorizontalPodAutoscaler")]
    assert all(of(rendered, "Deployment", name) for name in targets)
    for name, _, container in pods(rendered):
        for source in container.get("envFrom", []):
            ((kind, reference),) = source.items()
            made = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind]
            assert of(rendered, made, reference["name"]), (name, reference)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.20.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("fd00::1", False),
        ("fe80::1", False),
    ],
)
def test_webhooks_reach_public_addresses_only(rendered, address, reached):
    blocks = [
        peer["ipBlock"]
        for policy in of(rendered, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    at = ipaddress.ip_address(address)

    def inside(network: str) -> bool:
        found = ipaddress.ip_network(network)
        return found.version == at.version and at in found

    allowed = any(inside(block["cidr"]) and not any(map(inside, block["except"])) for block in blocks)
    assert allowed is reached


def test_nothing_is_open_that_no_policy_opens(rendered):
    (closed,) = of(rendered, "NetworkPolicy", "deny-all")
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_who_lets_workers_keep_their_deletion_cost_gives_them_that_right_and_no_other(tmp_path):
    if not _kustomize_5():
        pytest.skip("needs a kubectl that brings kustomize 5 (Debian's own is too old)")
    folder = tmp_path / "kubernetes"
    shutil.copytree(SOURCE, folder)
    overlay = folder / "overlays/many-gpus"
    (overlay / "secrets.env").write_text("REDIS_PASSWORD=secret\n")
    recipe = overlay / "kustomization.yaml"
    recipe.write_text(recipe.read_text().replace("../../scaling]", "../../scaling, ../../deletion-cost]"))
    told = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    with_cost = list(yaml.safe_load_all(told.stdout))
    test_core_kinds_follow_kubernetes_schemas_to_the_last_key(with_cost)
    mounted = {name: spec.get("automountServiceAccountToken") for name, spec, _ in pods(with_cost)}
    assert [name for name, mounts in mounted.items() if mounts is not False] == ["worker"]
    (worker,) = (one for one in pods(with_cost) if one[0] == "worker")
    assert worker[1]["serviceAccountName"] == "worker"
    named = next(one for one in worker[2]["env"] if one["name"] == "MICROCINEMA_POD_NAME")
    assert named["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    (role,) = of(with_cost, "Role")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    (binding,) = of(with_cost, "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "worker", "namespace": "microcinema"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
