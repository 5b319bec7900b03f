"""The list of tenants, and the registry's own tenant: damaged, they keep nobody from being served who is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest
from redis import Redis

from registry.domain.tenant import DEFAULT_TENANT
from registry.store.keys import Keys
from tests.replicas.test_damage import ASIDE, NOTICED_WITHIN_S, alarms
from tests.support.api import assert_refused, ids, ok
from tests.support.redis_server import redis_server
from tests.support.repair import repair
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

KEYS: Final = Keys("registry:")


def retype(redis: Any, *keys: str) -> None:
    redis.delete(*keys)
    for key in keys:
        redis.rpush(key, "not yours")


HARMS: Final[dict[str, tuple[Callable[[Any], object], str]]] = {
    "list of another type": (lambda redis: retype(redis, KEYS.tenants_stream), KEYS.tenants_stream),
    "set of another type": (lambda redis: retype(redis, KEYS.tenants), KEYS.tenants),
    "both": (lambda redis: retype(redis, KEYS.tenants, KEYS.tenants_stream), KEYS.tenants),
    "entry of nobody": (lambda redis: redis.xadd(KEYS.tenants_stream, {"foo": "bar"}), KEYS.tenants_stream),
    "entry that is no text": (
        lambda redis: redis.xadd(KEYS.tenants_stream, {"d": b"\xff", "p": b"\xff"}),
        KEYS.tenants_stream,
    ),
}


@pytest.mark.parametrize("kind", HARMS)
def test_known_tenants_go_on_and_new_ones_are_refused_until_it_is_mended(kind: str) -> None:
    """By who ran before, and by who starts. After the repair new ones come, to all replicas, without a restart."""
    harm, key = HARMS[kind]
    with redis_server() as server, replica("--redis-url", server.url) as one:
        known = one.api("known")
        known.service("cart", serviceId="cart")
        harm(Redis.from_url(server.url))
        names = (f"probe-{number}" for number in count())
        until_sync(lambda: one.api(next(names)).post("/microservices", NEW).status == 500, "to be refused")
        with replica("--redis-url", server.url) as late:
            for number, lane in enumerate((one, late)):
                api = lane.api("known")
                until_sync(lambda api=api: ids(api.find("cart")) is not None, "the tenant to be known")  # type: ignore[misc]
                api.instance("cart", instanceId=f"i{number}")
                refused = lane.api("new").post("/microservices", NEW)
                assert_refused(refused, 500011)
                for said in (key, "the list of tenants", "registry repair"):
                    assert said in refused.json()["detail"]
                (alarm,) = [a for a in alarms(lane) if a["id"] == "TenantDamaged"]
                assert key in alarm["fields"]["detail"]
            assert repair(server.url).returncode == 1
            assert repair(server.url, "--apply").returncode == 0
            for number, lane in enumerate((one, late)):
                api = lane.api(f"new-{number}")
                until_sync(
                    lambda api=api: api.post("/microservices", NEW).status == 200,  # type: ignore[misc]
                    "new tenants to be accepted",
                    NOTICED_WITHIN_S,
                )
            late.api("newer").service("cart")
            until_sync(lambda: one.api("newer").find("cart").status == 200, "the others to hear of it")
            for lane in (one, late):
                assert set(ids(lane.api("known").find("cart"))) == {"i0", "i1"}
                assert "Traceback" not in lane.output()


NEW: Final = {"service": {"serviceName": "cart", "appId": "shop"}}


@pytest.fixture
def own_tenant_damaged() -> Iterator[tuple[Any, str]]:
    """A Redis in which a registry has run, and its own tenant's log has become something else."""
    with redis_server() as server:
        redis = Redis.from_url(server.url)
        with replica("--redis-url", server.url) as one:
            one.api("known").service("cart", serviceId="cart")
        retype(redis, KEYS.events(DEFAULT_TENANT))
        yield redis, server.url


def test_a_registry_starts_when_its_own_tenant_is_damaged(own_tenant_damaged: tuple[Any, str]) -> None:
    """It cannot register itself until that is mended, but everybody else is served at once."""
    _, url = own_tenant_damaged
    with replica("--redis-url", url) as one:
        one.api("known").instance("cart", instanceId="a")
        assert_refused(one.api("default").post("/microservices", NEW), 500011)
        assert repair(url, "--apply").returncode == 0
        until_sync(lambda: len(ids(registered(one))) == 1, "it to register itself", NOTICED_WITHIN_S)
        assert "Traceback" not in one.output()


def registered(one: Replica) -> Any:
    answer = one.connect().request("GET", "/v4/default/registry/health")
    return answer if answer.status == 200 and not answer.header(ASIDE) else ok(one.api("known").find("cart"))
