"""A thousand tenants on a Cluster: spread over the shards, known to every replica, and each heard of at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.modes.serving import assert_serves, two_replicas
from tests.support.api import Api, ids
from tests.support.redis_modes import Cluster, redis_cluster
from tests.support.replica import Replica
from tests.support.waiting import until_sync

TENANTS = [f"tenant{number}" for number in range(1000)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with redis_cluster(replicas=False) as cluster:
        yield cluster


def register(replica: Replica, tenants: list[str]) -> None:
    connection = replica.connect()
    for tenant in tenants:
        api = Api(connection, tenant)
        api.service(serviceId="cart")
        api.instance("cart", instanceId="first")


def find(replica: Replica, tenants: list[str]) -> list[str]:
    """The tenants whose instance this replica does not find."""
    connection = replica.connect()
    return [tenant for tenant in tenants if ids(Api(connection, tenant).find()) != ["first"]]


def test_a_thousand_tenants(cluster: Cluster) -> None:
    """No XREAD may span slots, so that each tenant is followed by itself: that must not be felt."""
    halves = TENANTS[:500], TENANTS[500:]
    with two_replicas(cluster.url) as (one, other), ThreadPoolExecutor(3) as pool:
        serves = pool.submit(assert_serves, one, other, "served")
        list(pool.map(register, (one, other), halves))
        assert list(pool.map(find, (other, one), halves)) == [[], []]

        streams = []
        for server in cluster.servers:
            with server.client() as client:
                streams.append(sum(1 for _ in client.scan_iter("registry:*:events", count=1000)))
        # And the tenant that is served meanwhile, and that of which the registry itself is a service.
        assert sum(streams) == len(TENANTS) + 2
        assert min(streams) > len(TENANTS) / 4

        here, there = one.connect(), other.connect()
        took_ms = []
        for tenant in TENANTS[::50]:
            Api(here, tenant).instance("cart", instanceId="second")
            began = time.monotonic()
            # The list of a known service is answered from memory: it shows what this replica was told.
            until_sync(lambda tenant=tenant: len(ids(Api(there, tenant).instances_of("cart"))) == 2, "the news")  # type: ignore[misc]
            took_ms.append((time.monotonic() - began) * 1000)
        serves.result()
        took_ms.sort()
        print(f"propagation: median {took_ms[len(took_ms) // 2]:.1f} ms, longest {took_ms[-1]:.1f} ms")
