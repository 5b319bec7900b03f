"""A Redis that answers reads and refuses writes is a state with a name, and nothing is lost in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from tests.support.api import Api, ids
from tests.support.http import Response
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

#: How each refusal is brought about, and ended; and the remedy that the log names.
Change = Callable[[Any], object]
REFUSALS: dict[str, tuple[Change, Change, str]] = {
    "full": (lambda r: r.config_set("maxmemory", "1mb"), lambda r: r.config_set("maxmemory", "0"), "maxmemory"),
    "replica": (lambda r: r.replicaof("127.0.0.1", 1), lambda r: r.replicaof("NO", "ONE"), "it is a replica now"),
    "lonely": (
        lambda r: r.config_set("min-replicas-to-write", "1"),
        lambda r: r.config_set("min-replicas-to-write", "0"),
        "min-replicas-to-write",
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module", params=["off", "on"])
def registry(server: RedisServer, request: pytest.FixtureRequest) -> Iterator[tuple[Replica, bool]]:
    """A registry with a short lease in it, and whether its readiness needs writes."""
    with replica("--redis-url", server.url, "--ready-needs-writes", request.param) as process:
        api = process.api("team")
        api.service("cart", serviceId="cart")
        yield process, request.param == "on"


def health(api: Api) -> int:
    return int(api.get("/health").status)


def alarms(registry: Replica) -> dict[str, Any]:
    found = registry.api("default").connection.request("GET", "/v4/default/admin/alarms").json().get("alarms", [])
    return {alarm["id"]: alarm for alarm in found if alarm["status"] == "ACTIVATED"}


def metric(registry: Replica, name: str) -> float:
    lines = registry.api("default").connection.request("GET", "/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"registry_{name} ")).split()[1])


@pytest.mark.parametrize("refusal", REFUSALS)
def test_store_that_refuses_writes_is_named_and_costs_nobody_a_lease(
    server: RedisServer, registry: tuple[Replica, bool], refusal: str
) -> None:
    """Said once when it begins and once when it ends; reads go on, heartbeats are kept, and nobody is expired."""
    process, needs_writes = registry
    begin, end, remedy = REFUSALS[refusal]
    api = process.api("team")
    api.register("cart", instanceId="short", healthCheck={"mode": "push", "interval": 5, "times": 0})
    said = len(process.said("writes_refused"))
    with Redis.from_url(server.url) as client:
        begin(client)
        try:
            until_sync(lambda: health(api) == 400, "health to say it")
            assert api.get("/health").json()["errorCode"] == "400002"
            until_sync(lambda: "StoreRefusesWrites" in alarms(process), "the alarm")
            assert remedy in alarms(process)["StoreRefusesWrites"]["fields"]["detail"]
            assert metric(process, "store_refuses_writes") == 1
            assert api.get("/health/readiness").status == (503 if needs_writes else 200)
            assert ids(api.find("cart")) == ["short"]
            assert api.register("cart", instanceId="new").json()["errorCode"] == "500011"
            until_sync(lambda: len(process.said("writes_refused")) == said + 1, "the line in the log", 15)
            assert remedy in process.said("writes_refused")[-1]["message"]
            until_sync(lambda: beat(api).status == 200, "a heartbeat to be taken")
            if refusal != "full":  # a renewal needs no memory
                assert metric(process, "heartbeats_waiting") >= 1
            until_sync(lambda: server_time_passed(client, 6_000), "the lease to be over", 20)
            assert ids(api.find("cart")) == ["short"]
        finally:
            end(client)
    until_sync(lambda: health(api) == 200, "health")
    until_sync(lambda: metric(process, "store_refuses_writes") == 0, "the end of it")
    assert "StoreRefusesWrites" not in alarms(process)
    assert beat(api).status == 200
    assert ids(api.find("cart")) == ["short"]
    api.delete("/microservices/cart/instances/short")


def beat(api: Api) -> Response:
    return api.put("/microservices/cart/instances/short/heartbeat")


_began: dict[int, float] = {}


def server_time_passed(client: Any, ms: int) -> bool:
    """Whether this much of Redis's time has passed since the first call with this client."""
    seconds, micros = client.time()
    now = seconds * 1000 + micros / 1000
    return bool(now - _began.setdefault(id(client), now) > ms)


def test_what_a_client_asks_for_does_not_mark_the_replica_as_ill(registry: tuple[Replica, bool]) -> None:
    """No replica of Redis is attached: the client is told what it may ask for, and nobody else hears of it."""
    process, _ = registry
    api = process.api("team")
    api.connection.request("DELETE", "/v4/default/admin/alarms")
    until_sync(lambda: not alarms(process), "the heartbeats of the tests before to be delivered")
    body = {"instance": {"hostName": "h", "instanceId": "wanting"}}
    answer = api.post("/microservices/cart/instances", body, {"X-Registry-Durability": "replica"})
    assert (answer.status, answer.json()["errorCode"]) == (400, "400001")
    assert "it may be memory" in answer.json()["detail"]
    assert "wanting" not in ids(api.find("cart"))
    assert health(api) == 200
    assert not alarms(process)
