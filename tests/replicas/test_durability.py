"""Durability by name: what a write is answered is what Redis has done, or says why it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from registry.clock import Clock
from registry.domain.events import encode_event
from registry.domain.position import Position
from registry.domain.tenant import DEFAULT_TENANT
from registry.store.port import NotDurable
from registry.usecases.durable import CONFIRM_TIMEOUT_MS, Durable
from tests.support.api import Api, ids, ok
from tests.support.builders import microservice, service_registered
from tests.support.far_redis import Line, far_redis
from tests.support.http import Response
from tests.support.memory_replica import VIRTUAL
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow
#: Seconds that a refusal may take beyond what Redis is given.
SLACK_S = 2.0


@dataclass
class Deployment:
    """A Redis that syncs every write, its replica behind a line that can hang, and a registry that asks for disk."""

    server: RedisServer
    second: RedisServer
    line: Line
    registry: Replica

    def api(self) -> Api:
        return self.registry.api("team")


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with (
        redis_server(None, True, ["--repl-diskless-sync-delay", "0"]) as server,
        redis_server(None, True) as second,
        replica("--redis-url", server.url, "--durability", "disk") as registry,
    ):
        line = Line(server.socket)
        registry.api("team").service("cart", serviceId="cart")
        yield Deployment(server, second, line, registry)
        line.close()


def register(api: Api, instance_id: str, durability: str = "") -> Response:
    body = {"instance": {"hostName": "h", "instanceId": instance_id}}
    headers = {"X-Registry-Durability": durability} if durability else {}
    return api.post("/microservices/cart/instances", body, headers)


def refused(response: Response) -> str:
    """Why: a failure of the registry, in the API's shape."""
    assert (response.status, response.json()["errorCode"]) == (500, "500011"), response.body
    return str(response.json()["detail"])


def configure(server: RedisServer, **values: str) -> None:
    with Redis.from_url(server.url) as client:
        for name, value in values.items():
            client.config_set(name, value)
        until_sync(lambda: not info(client, "persistence")["aof_rewrite_in_progress"], "the file to be begun")


def info(client: Any, section: str) -> dict[str, Any]:
    found: dict[str, Any] = client.info(section)
    return found


def test_the_deployments_durability_is_what_a_write_gets(deployment: Deployment) -> None:
    """Redis syncs each write before it answers, and says so."""
    assert register(deployment.api(), "d1").status == 200
    assert register(deployment.api(), "d2", "disk").status == 200
    assert ids(deployment.api().find("cart"))[:2] == ["d1", "d2"]


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("appendonly", "no", "append-only file"),
        ("appendfsync", "everysec", "appendfsync always"),
        ("appendfsync", "no", "appendfsync is no"),
    ],
)
def test_what_redis_does_not_do_is_refused_before_anything_is_written(
    deployment: Deployment, setting: str, value: str, why: str
) -> None:
    """Asked of Redis as it runs now: its configuration may have changed since the registry was started."""
    before = {"appendonly": "yes", "appendfsync": "always"}[setting]
    with Redis.from_url(deployment.server.url) as client:
        version = tuple(map(int, str(info(client, "server")["redis_version"]).split(".")[:2]))
    if value == "everysec" and version >= (7, 2):
        pytest.skip("this Redis says what is synced")
    api, said = deployment.api(), len(deployment.registry.said("durability_lost"))
    configure(deployment.server, **{setting: value})
    try:
        until_sync(
            lambda: (answer := register(deployment.api(), "x1")).status == 500 and "written" not in refused(answer),
            "the change to be noticed before a write",
        )
        assert why in refused(register(deployment.api(), "x2"))
        assert "x2" not in ids(deployment.api().find("cart"))
        assert register(deployment.api(), "m1", "memory").status == 200, "this one asks for less"
        assert why in alarms(api)["DurabilityLost"]
        assert "InternalError" not in alarms(api)
        health = api.get("/health").json()
        assert health["errorCode"] == "400002"
        assert why in health["detail"]
        assert api.get("/health/readiness").status == 200
        # One that follows on another within ten seconds is said after them.
        until_sync(lambda: len(deployment.registry.said("durability_lost")) == said + 1, "the line in the log", 15)
        assert why in deployment.registry.said("durability_lost")[-1]["message"]
    finally:
        configure(deployment.server, **{setting: before})
    until_sync(lambda: api.get("/health").status == 200, "it to be had again, without a write")
    assert register(deployment.api(), "d3").status == 200
    assert "DurabilityLost" not in alarms(api)
    until_sync(lambda: len(deployment.registry.said("durability_back")) == said + 1, "the end in the log")


def alarms(api: Api) -> dict[str, str]:
    """The details of the alarms that are active."""
    found = api.connection.request("GET", "/v4/default/admin/alarms").json().get("alarms", [])
    return {alarm["id"]: alarm["fields"]["detail"] for alarm in found if alarm["status"] == "ACTIVATED"}


def test_a_disk_that_is_full_is_not_the_clients_mistake() -> None:
    """What Redis is set up for and fails to do is the registry's failure; what it is not set up for is refused with
    400.
    """
    with (
        redis_server(None, True) as server,
        far_redis(str(server.socket), change=(b"aof_last_write_status:ok", b"aof_last_write_status:er")) as url,
        replica("--redis-url", url) as registry,
    ):
        api = registry.api("team")
        api.service("cart", serviceId="cart")
        assert "make room on its disk" in refused(register(api, "a", "disk"))
        answer = register(api, "a", "replica")
        assert (answer.status, answer.json()["errorCode"]) == (400, "400001")
        assert answer.json()["detail"].endswith("it may be memory")
        assert register(api, "a", "memory").status == 200
        assert alarms(api) == {}


def test_a_name_that_is_none_is_the_clients_mistake(deployment: Deployment) -> None:
    response = register(deployment.api(), "x3", "two-copies")
    assert (response.status, response.json()["errorCode"]) == (400, "400001")
    assert "memory, disk, replica" in response.json()["detail"]


def test_a_replica_confirms_or_the_write_is_not_called_durable(deployment: Deployment) -> None:
    """Without one it is refused; with one it is confirmed; while that hangs, the client is told so in time."""
    api = deployment.api()
    response = register(api, "x4", "replica")
    assert (response.status, response.json()["errorCode"]) == (400, "400001")
    assert "Redis has no replica; it may be memory or disk" in response.json()["detail"]
    assert "x4" not in ids(api.find("cart"))
    with Redis.from_url(deployment.second.url) as second, Redis.from_url(deployment.server.url) as first:
        second.replicaof("127.0.0.1", deployment.line.port)
        until_sync(lambda: info(second, "replication")["master_link_status"] == "up", "the replica to be in step")
        until_sync(lambda: register(api, "r1", "replica").status == 200, "a replica to be known")
        head: Any = first.get("registry:{team/default}:head")
        assert second.get("registry:{team/default}:head") == head, "confirmed is what the replica has"
        deployment.line.hang()
        began = time.monotonic()
        assert "written, but no replica" in refused(register(api, "r2", "replica"))
        assert time.monotonic() - began < CONFIRM_TIMEOUT_MS / 1000 + SLACK_S
        assert "r2" in ids(api.find("cart")), "it was written, and the answer says so"
        deployment.line.mend()
        until_sync(lambda: register(api, "r3", "replica").status == 200, "the replica to be back")


def test_registry_whose_redis_cannot_have_what_it_promises_does_not_start() -> None:
    """Every write would be refused, and nobody would know why."""
    with redis_server(None, True) as server:
        configure(server, appendonly="no")
        process = Replica("--redis-url", server.url, "--durability", "disk")
        try:
            assert process.launch().wait() != 0
            assert "REGISTRY_DURABILITY is disk, which cannot be had: Redis keeps no append-only" in process.output()
            assert "Traceback" not in process.output()
        finally:
            process.clean_up()


def test_many_that_wait_are_confirmed_together(deployment: Deployment) -> None:
    """One question to Redis serves all who wait: durability costs a round trip, not one for each."""
    connections = [deployment.registry.connect() for _ in range(60)]
    with Redis.from_url(deployment.server.url) as client:
        before = info(client, "commandstats")["cmdstat_set"]["calls"]
        deployment.server.pause()  # so that all of them wait at once
        for number, connection in enumerate(connections):
            body = b'{"instance":{"hostName":"h","instanceId":"many%d"}}' % number
            connection.send(
                b"POST /v4/default/registry/microservices/cart/instances HTTP/1.1\r\nHost: h\r\n"
                b"X-Domain-Name: team\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        deployment.server.resume()
        assert all(ok(connection.receive()) for connection in connections)
        asked = info(client, "commandstats")["cmdstat_set"]["calls"] - before
    assert asked < 1.5 * len(connections), "each has a lease of its own; a marker each would be twice as many"


# -- a server that is gone ---------------------------------------------------------------------------------------------


class _Elsewhere:
    """A store whose confirmation comes from a server that does not hold the write."""

    def __init__(self, held: bytes | None) -> None:
        self._held = held

    async def confirm(self, *_: object) -> bytes | None:
        return self._held


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [VIRTUAL])
async def test_a_confirmation_by_another_server_than_the_writes_is_none(anyio_backend: Any) -> None:
    """Between write and confirmation Redis went over to a replica that lacks the write."""
    event, other = (service_registered(microservice(name)) for name in ("s1", "s2"))
    for held, durable in ((encode_event(event), True), (encode_event(other), False), (None, False)):
        store: Any = _Elsewhere(held)
        use_case = Durable(store, Clock(), lambda _: (Position(7, 5), event), lambda _: True, "replica")
        if durable:
            await use_case.confirm(DEFAULT_TENANT, "replica")
        else:
            with pytest.raises(NotDurable, match="does not hold it"):
                await use_case.confirm(DEFAULT_TENANT, "replica")
