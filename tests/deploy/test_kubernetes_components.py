"""Components that no overlay takes by itself, added as docs/kubernetes.md says."""

from __future__ import annotations

import pytest
from rig.kustomized import copied, environment, of, pods, rendered_from


def test_one_certificate_signs_for_all_workers_where_the_component_is_taken(tmp_path):
    overlay = copied(tmp_path, "one-gpu")
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("components: [../../credentials]\n")
    for name in ("chain.pem", "key.pem"):
        (overlay.parents[1] / "credentials" / name).write_text("PEM")
    rendered = rendered_from(overlay)
    ((_, spec, container),) = [pod for pod in pods(rendered) if pod[0] == "worker"]
    (secret,) = [one for one in of(rendered, "Secret") if set(one["data"]) == {"chain.pem", "key.pem"}]
    (volume,) = [one for one in spec["volumes"] if one.get("secret")]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
    own = environment(container)
    assert own["MICROCINEMA_CREDENTIALS_CHAIN"] == f"{mount['mountPath']}/chain.pem"
    assert own["MICROCINEMA_CREDENTIALS_KEY"] == f"{mount['mountPath']}/key.pem"


def test_who_lets_workers_keep_their_deletion_cost_gives_them_that_right_and_no_other(tmp_path):
    overlay = copied(tmp_path, "many-gpus")
    recipe = overlay / "kustomization.yaml"
    recipe.write_text(recipe.read_text().replace("../../scaling]", "../../scaling, ../../deletion-cost]"))
    with_cost = rendered_from(overlay)
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for kind in ("ServiceAccount", "Role", "RoleBinding", "Deployment", "NetworkPolicy"):
        for manifest in of(with_cost, kind):
            validate.validate(manifest, "1.37", strict=True)
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
