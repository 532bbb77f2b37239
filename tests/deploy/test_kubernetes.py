"""The manifests as `kubectl kustomize` renders them, held to Kubernetes' and the operators' own schemas.

No cluster was there: what is checked is form, names, and that what the documents promise is in them.
"""

from __future__ import annotations

import ipaddress
import json
import re

import pytest
from pydantic_settings import BaseSettings
from rig.kustomized import OVERLAYS, Manifest, copied, environment, of, pods, rendered_from

from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from worker.settings import WorkerSettings

CORE_VERSION = "1.37"
PORTS = {"gateway": 8000, "notifier": 9200, "worker": 9100}
PROBES = {
    "gateway": {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"},
    "worker": {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"},
    "notifier": {"startupProbe": "/metrics", "livenessProbe": "/metrics"},
}


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """All manifests of one overlay, its secrets filled in as its example says."""
    return rendered_from(copied(tmp_path_factory.mktemp("kubernetes"), request.param))


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


def test_the_record_is_full_before_its_container_is(rendered):
    ((_, _, container),) = [pod for pod in pods(rendered) if pod[0] == "valkey"]
    (megabytes,) = re.findall(r"--maxmemory (\d+)mb", container["args"][0])
    limit = container["resources"]["limits"]["memory"]
    assert limit == "1Gi" == container["resources"]["requests"]["memory"]
    assert 1.4 * int(megabytes) <= 1024, "what rewrites its file needs some of it"
    assert "noeviction" in container["args"][0]


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

    assert all(
        rule.get("to")
        for policy in of(rendered, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
    ), "a rule without a destination leads everywhere"
    allowed = any(inside(block["cidr"]) and not any(map(inside, block["except"])) for block in blocks)
    assert allowed is reached


def test_the_parts_that_the_page_promises_are_there(rendered):
    budgets = {one["metadata"]["name"] for one in of(rendered, "PodDisruptionBudget")}
    assert budgets == {"gateway", "notifier", "worker"}
    scaled = {one["metadata"]["name"]: one["spec"] for one in of(rendered, "HorizontalPodAutoscaler")}
    assert set(scaled) == {"gateway", "notifier"}
    assert all(one["minReplicas"] < one["maxReplicas"] for one in scaled.values())
    for name in scaled:
        (deployment,) = of(rendered, "Deployment", name)
        assert "replicas" not in deployment["spec"], "applying the overlay again would set the number back"
    many = {one["metadata"]["name"] for one in of(rendered, "ServiceMonitor")}
    assert many in ({"gateway", "notifier", "worker"}, set())
    assert bool(many) == bool(of(rendered, "PrometheusRule")) == bool(of(rendered, "ScaledObject"))
    for one in of(rendered, "ScaledObject"):
        assert one["spec"]["minReplicaCount"] == 0, "to none and back"


def test_nothing_is_open_that_no_policy_opens(rendered):
    (closed,) = of(rendered, "NetworkPolicy", "deny-all")
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
