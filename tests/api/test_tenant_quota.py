"""The quota on tenants: a new one is refused by name, usage and limit; those that are there are never refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Api, assert_refused, ok
from tests.support.fleet import fleet
from tests.support.http import Response
from tests.support.replica import Replica

#: The default tenant, of which the registry itself is a service, and two more.
LIMIT = 3


@pytest.fixture(scope="module")
def replicas(redis_url: str) -> Iterator[list[Replica]]:
    """Two registries on one store."""
    options = ("--redis-url", redis_url, "--redis-prefix", "tenants:", "--quota-tenant", str(LIMIT))
    with fleet(options, options) as both:
        yield both


@pytest.fixture(scope="module")
def known(replicas: list[Replica]) -> list[Api]:
    """Clients of the two tenants that there may be."""
    clients = [replicas[0].api("one"), replicas[0].api("two", "project")]
    for client in clients:
        client.service()
    return clients


def assert_quota_refused(response: Response) -> None:
    assert_refused(response, 400100, f"tenant quota: {LIMIT} of {LIMIT} in use")
    assert "QUOTA_TENANT" in response.json()["detail"]


@pytest.mark.parametrize("number", [0, 1])
def test_one_more_tenant_is_refused_by_every_replica(replicas: list[Replica], known: list[Api], number: int) -> None:
    """Whatever is its first write: a microservice, or a policy."""
    client = replicas[number].api(f"third-{number}")
    assert_quota_refused(client.post("/microservices", {"service": {"serviceName": "cart", "appId": "shop"}}))
    policy = b'{"name":"a","spec":{"maxAttempts":1}}'
    answer = client.connection.request("POST", "/v1/default/gov/retry", policy, {"X-Domain-Name": f"third-{number}"})
    assert_quota_refused(answer)
    assert ok(client.get("/microservices")).json() == {}


def test_the_known_tenants_go_on(replicas: list[Replica], known: list[Api]) -> None:
    """What is registered in a tenant that is there is the matter of other quotas."""
    for client in (*known, replicas[1].api("one"), replicas[1].api("default")):
        assert client.instance(client.service("till"))
