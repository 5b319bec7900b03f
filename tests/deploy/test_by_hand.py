"""What the compose file starts, started by hand: its store, its three replicas with its variables, and its balancer.

There is no engine here, so names of containers become ports of this machine; everything else is as in the files.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.api import Api
from tests.support.deployments import DEPLOY, compose
from tests.support.fleet import fleet_of
from tests.support.http import Connection
from tests.support.redis_modes import free_port
from tests.support.redis_server import redis_server
from tests.support.replica import Replica
from tests.support.tools import tool
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

#: What the image sets.
IMAGE = {"REGISTRY_HOST": "0.0.0.0"}
READINESS = "/v4/default/registry/health/readiness"
NAMES = ("registry-1", "registry-2", "registry-3")


@pytest.fixture(scope="module")
def replicas() -> Iterator[list[Replica]]:
    services = compose()["services"]
    with redis_server(options=services["valkey"]["command"][1:]) as server:
        each = [
            Replica(environment={**services[name]["environment"], **IMAGE, "REGISTRY_REDIS_URL": server.url})
            for name in NAMES
        ]
        with fleet_of(each) as started:
            yield started


@pytest.fixture(scope="module")
def balancer(replicas: list[Replica], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """haproxy with the configuration that is mounted, on a free port."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    for name, replica in zip(NAMES, replicas, strict=True):
        text = text.replace(f"{name}:30100", f"127.0.0.1:{replica.port}")
    port = free_port()
    path = tmp_path_factory.mktemp("balancer") / "haproxy.cfg"
    path.write_text(text.replace("bind :30100", f"bind 127.0.0.1:{port}"))
    process = subprocess.Popen([tool("haproxy"), "-f", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_sync(partial(is_ready, port), "the balancer to reach a replica")
        with Connection("127.0.0.1", port) as connection:
            yield connection
    finally:
        process.terminate()
        process.wait(20)


def is_ready(port: int) -> bool:
    with Connection("127.0.0.1", port) as connection, contextlib.suppress(OSError):
        return connection.request("GET", READINESS).status == 200
    return False


def test_through_the_balancer_one_reads_what_one_wrote(balancer: Connection) -> None:
    api = Api(balancer)
    service_id = api.service("cart")
    position = api.register(service_id, instanceId="a").position
    # Another replica may answer, which waits until it is as far.
    query = "/instances?appId=shop&serviceName=cart&version=0%2B"
    found = api.get(query, {"X-Registry-Position": position})
    assert [instance["instanceId"] for instance in found.json()["instances"]] == ["a"]
    assert found.header("X-Resource-Revision"), "java clients look it up in this letter case"


def test_health_names_addresses_that_a_client_can_reach(balancer: Connection) -> None:
    """As the compose file publishes them; each replica its own."""
    found = balancer.request("GET", "/v4/default/registry/health").json()["instances"]
    endpoints = sorted(re.sub(r"^rest://|/.*$", "", endpoint) for one in found for endpoint in one["endpoints"])
    assert endpoints == ["127.0.0.1:30101", "127.0.0.1:30102", "127.0.0.1:30103"]


def test_replicas_are_stopped_one_by_one_and_clients_notice_nothing(
    balancer: Connection, replicas: list[Replica]
) -> None:
    """As `docker compose up` replaces them; the last one still answers everything."""
    api = Api(balancer)
    statuses: list[int] = []

    def has_ended(replica: Replica) -> bool:
        statuses.append(api.get("/microservices").status)
        return replica.process.poll() is not None

    for replica in replicas[:-1]:
        replica.process.terminate()
        until_sync(partial(has_ended, replica), "the replica to end")
    assert len(statuses) > 10
    assert set(statuses) == {200}
    assert api.find("cart").status == 200
