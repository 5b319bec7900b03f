"""The compose file and what it mounts, judged by the programs that read them, as far as that goes without an engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from registry.settings import BadSetting
from tests.support.deployments import COMPOSE, DEPLOY, check_deployment, checker, compose
from tests.support.redis_server import redis_server
from tests.support.replica import REPOSITORY, replica
from tests.support.tools import tool

REPLICAS = ("registry-1", "registry-2", "registry-3")


def test_compose_takes_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [checker("docker-compose"), "-f", str(COMPOSE), "config"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "registry-3" in done.stdout


def test_variables_are_settings_and_paths_are_routes() -> None:
    check_deployment(yaml.safe_dump(compose()))


@pytest.mark.parametrize(
    "wrong",
    [
        "env: {REGISTRY_REDIS_ULR: x}",
        "env: [{name: REGISTRY_PORT, value: none}]",
        "probe: {httpGet: {path: /v4/default/registry/health/ready}}",
        'test: ["http://127.0.0.1:30100/v4/default/registry/healthy"]',
    ],
)
def test_a_deployment_that_could_not_work_is_noticed(wrong: str) -> None:
    with pytest.raises((BadSetting, AssertionError)):
        check_deployment(wrong)


@pytest.mark.slow
def test_store_of_the_compose_file_is_one_that_the_registry_takes() -> None:
    """Its options are those of a server, and the registry starts on it."""
    command = compose()["services"]["valkey"]["command"]
    assert command[0] == "valkey-server"
    with redis_server(options=command[1:]) as server, replica("--redis-url", server.url) as one:
        assert one.api("default").service("cart")


def test_what_is_mounted_is_there() -> None:
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (REPOSITORY / source).exists(), f"{name} mounts {source}"
            else:
                assert source in compose()["volumes"]


def test_replicas_advertise_where_they_are_published() -> None:
    """A client outside the network learns these addresses from `health`, and may speak to them."""
    for given, host in (({}, "127.0.0.1"), ({"REGISTRY_PUBLIC_HOST": "10.0.0.5"}, "10.0.0.5")):
        services = compose(given)["services"]
        for name in REPLICAS:
            (published,) = services[name]["ports"]
            assert services[name]["environment"]["REGISTRY_ADVERTISE"] == f"{host}:{published.split(':')[1]}"


def test_nothing_is_published_beyond_this_machine_unless_it_is_said() -> None:
    """Without accounts anyone who reaches a port may read and write everything."""
    for name, service in compose()["services"].items():
        for published in service.get("ports", []):
            assert published.startswith("127.0.0.1:"), f"{name} is open to everyone"


def test_balancer_reaches_every_replica() -> None:
    found = re.findall(r"^  server \w+ (\S+)", (DEPLOY / "haproxy.cfg").read_text(), re.MULTILINE)
    assert found == [f"{name}:30100" for name in REPLICAS]


def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(re.sub(r"(server \w+) [\w-]+:", r"\1 127.0.0.1:", (DEPLOY / "haproxy.cfg").read_text()))
    done = subprocess.run([tool("haproxy"), "-c", "-f", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_every_replica() -> None:
    loaded = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    ((config,),) = [scrape["static_configs"] for scrape in loaded["scrape_configs"]]
    assert config["targets"] == [f"{name}:30100" for name in REPLICAS]
    done = subprocess.run(
        [checker("promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_is_clean() -> None:
    done = subprocess.run([checker("hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_image_is_not_root_and_is_asked_whether_it_is_ready() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert "REGISTRY_HOST=0.0.0.0" in text
    assert "http://127.0.0.1:30100/v4/default/registry/health/readiness" in text


def test_what_the_image_copies_is_not_ignored() -> None:
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()
    }
    assert copied == kept
    assert all((REPOSITORY / source).exists() for source in copied)
