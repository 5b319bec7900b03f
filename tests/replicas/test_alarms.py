"""Five alarms, provoked as they happen, and ended by what registry/docs/alarms.md says is to be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.support.api import Api, ids, ok
from tests.support.figures import scraped, series
from tests.support.redis_server import RedisServer, redis_server
from tests.support.repair import repair
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
MANY = [f"m{number}" for number in range(20)]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def one(server: RedisServer) -> Iterator[Replica]:
    with replica("--redis-url", server.url, "--mass-lapse-least", "10", "--mass-lapse-hold-s", "600") as process:
        yield process


@pytest.fixture
def api(one: Replica) -> Api:
    client = one.api("team")
    client.service("cart", serviceId="cart")
    ok(client.register("cart", instanceId="a", endpoints=["rest://10.0.0.1:1"]))
    return client


def detail(one: Replica, alarm: str) -> str:
    """What an active alarm says, "" when it is not active. The API and /metrics say the same."""
    with one.connect() as connection:
        told = connection.request("GET", "/v4/default/admin/alarms").json().get("alarms", [])
        active = {found["id"]: found["fields"]["detail"] for found in told if found["status"] == "ACTIVATED"}
        figure = scraped(connection.request("GET", "/metrics").body)[series("registry_alarm", alarm=alarm)]
    return str(active[alarm]) if alarm in active and figure == 1 else ""


def rings(one: Replica, *alarms: str) -> None:
    for alarm in alarms:
        until_sync(lambda alarm=alarm: bool(detail(one, alarm)), f"{alarm} to ring", LIMIT_S)  # type: ignore[misc]


def is_over(one: Replica, *alarms: str) -> None:
    def over(alarm: str) -> bool:
        with one.connect() as connection:
            figures = scraped(connection.request("GET", "/metrics").body)
        return figures[series("registry_alarm", alarm=alarm)] == 0 and not detail(one, alarm)

    for alarm in alarms:
        until_sync(lambda alarm=alarm: over(alarm), f"{alarm} to be over", LIMIT_S)  # type: ignore[misc]


def beat(api: Api, name: str) -> int:
    return int(api.put(f"/microservices/cart/instances/{name}/heartbeat").status)


def test_a_store_that_is_away(server: RedisServer, one: Replica, api: Api) -> None:
    """`BackendConnectionRefuse` and `HeartbeatsWaiting`: bring Redis back, nothing else is needed."""
    server.pause()
    try:
        assert beat(api, "a") == 200
        # It may be written all the same, when the store is back.
        assert api.register("cart", instanceId="late", endpoints=["rest://10.0.0.2:1"]).json()["errorCode"] == "500011"
        rings(one, "BackendConnectionRefuse", "HeartbeatsWaiting")
        assert "a" in ids(api.find("cart"))
    finally:
        server.resume()
    is_over(one, "BackendConnectionRefuse", "HeartbeatsWaiting")
    assert beat(api, "a") == 200


def test_a_store_that_takes_no_writes(server: RedisServer, one: Replica, api: Api) -> None:
    """`StoreRefusesWrites`: give it what the detail names."""
    with Redis.from_url(server.url) as admin:
        admin.config_set("maxmemory", "1mb")
        try:
            assert api.register("cart", instanceId="new", endpoints=["rest://10.0.0.3:1"]).status == 500
            rings(one, "StoreRefusesWrites")
            assert "maxmemory" in detail(one, "StoreRefusesWrites")
        finally:
            admin.config_set("maxmemory", "0")
    is_over(one, "StoreRefusesWrites")
    ok(api.register("cart", instanceId="new", endpoints=["rest://10.0.0.3:1"]))


def test_a_tenant_that_is_damaged(server: RedisServer, one: Replica, api: Api) -> None:
    """`TenantDamaged`: `registry repair --apply`."""
    with Redis.from_url(server.url) as admin:
        head = "registry:{team/default}:head"
        admin.set(head, "garbage")
        rings(one, "TenantDamaged")
        assert head in detail(one, "TenantDamaged")
        assert "a" in ids(api.find("cart"))
        said: Any = repair(server.url)
        assert "team/default" in said.stdout
        mended = repair(server.url, "--apply")
        assert mended.returncode == 0, mended.stdout + mended.stderr
    is_over(one, "TenantDamaged")
    assert beat(api, "a") == 200


def test_very_many_that_fall_silent_at_once(one: Replica, api: Api) -> None:
    """`MassLapse`: they are kept, and it is over when they beat again."""
    short = {"mode": "push", "interval": 2, "times": 0}
    for number, name in enumerate(MANY):
        endpoints = [f"rest://10.1.0.{number}:1"]
        ok(api.register("cart", instanceId=name, endpoints=endpoints, hostName=name, healthCheck=short))
    rings(one, "MassLapse")
    assert "team/default" in detail(one, "MassLapse")
    assert {"a", *MANY} <= set(ids(api.find("cart")))

    def all_beat() -> bool:
        assert all(beat(api, name) == 200 for name in MANY)
        return not detail(one, "MassLapse")

    until_sync(all_beat, "it to be over", LIMIT_S)
    assert {"a", *MANY} <= set(ids(api.find("cart")))
