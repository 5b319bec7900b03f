"""The manifests: rendered by kustomize, and held against the schemas of Kubernetes."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.settings import Settings
from tests.support.deployments import DEPLOY, check_deployment, checker

FOLDER = DEPLOY / "kubernetes"
#: The eldest version for which they are held against the schemas, and a newer one.
VERSIONS = ("1.29", "1.33")


def rendered(name: str) -> str:
    command = [checker("kubectl"), "kustomize", str(FOLDER / name)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def parts(name: str) -> dict[tuple[str, str], Any]:
    """By kind and name, as kustomize makes them."""
    found = {}
    for document in yaml.safe_load_all(rendered(name)):
        found[document["kind"], document["metadata"]["name"]] = document
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["base", "with-valkey"])
def test_manifests_fit_the_schemas(name: str, version: str, tmp_path: Path) -> None:
    """Strictly: a member that Kubernetes does not know is a mistake."""
    (tmp_path / "all.yaml").write_text(rendered(name))
    command = [checker("kubernetes-validate"), "--strict", "-k", version, str(tmp_path / "all.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_variables_are_settings_and_paths_are_routes(path: Path) -> None:
    check_deployment(path.read_text())


def test_everything_points_at_the_replicas() -> None:
    found = parts("base")
    deployment = found["Deployment", "registry"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = found[kind, "registry"]["spec"]
        selector = spec.get("selector", spec.get("podSelector"))
        assert selector.get("matchLabels", selector).items() <= labels.items()
    assert {port["targetPort"] for port in found["Service", "registry"]["spec"]["ports"]} <= ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert {
        port["port"] for rule in found["NetworkPolicy", "registry"]["spec"]["ingress"] for port in rule["ports"]
    } <= ports


def test_liveness_does_not_depend_on_the_store() -> None:
    """Redis that is away must not make Kubernetes end all replicas, with what they remember."""
    (container,) = parts("base")["Deployment", "registry"]["spec"]["template"]["spec"]["containers"]
    assert "health" not in container["livenessProbe"]["httpGet"]["path"]
    assert container["readinessProbe"]["httpGet"]["path"].endswith("/health/readiness")


def test_a_stop_has_the_time_it_needs() -> None:
    """The pause before it, and the registry's own REGISTRY_STOP_TIMEOUT_S."""
    spec = parts("base")["Deployment", "registry"]["spec"]["template"]["spec"]
    pause = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] >= pause + Settings().stop_timeout_s + 10


def test_store_that_comes_with_it_is_the_one_that_is_used() -> None:
    found = parts("with-valkey")
    (secret,) = [document for (kind, _), document in found.items() if kind == "Secret"]
    assert base64.b64decode(secret["data"]["url"]).decode() == "redis://registry-valkey:6379/0"
    (container,) = found["Deployment", "registry"]["spec"]["template"]["spec"]["containers"]
    (reference,) = [env["valueFrom"] for env in container["env"] if env["name"] == "REGISTRY_REDIS_URL"]
    assert reference["secretKeyRef"] == {"name": secret["metadata"]["name"], "key": "url"}
    assert ("Service", "registry-valkey") in found


def test_service_monitor_is_a_component(tmp_path: Path) -> None:
    """Only who has the Prometheus Operator adds it."""
    assert not any(kind == "ServiceMonitor" for kind, _ in parts("with-valkey"))
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["kubernetes/base"], "components": ["kubernetes/service-monitor"]})
    )
    done = subprocess.run([checker("kubectl"), "kustomize", str(tmp_path)], capture_output=True, text=True)
    assert "kind: ServiceMonitor" in done.stdout, done.stderr
