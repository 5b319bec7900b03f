"""The registry's own microservice, SERVICECENTER: its replicas write it, and no client does, by whatever way.

Clients learn the registry's addresses from it, in every tenant: who could write it could send them all elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from registry.domain.errors import Forbidden, InstanceNotExists
from registry.domain.own import ACTOR
from registry.domain.tenant import DEFAULT_TENANT
from tests.support.api import Api, assert_empty, assert_refused, ok
from tests.support.http import Response
from tests.support.memory_replica import VIRTUAL
from tests.support.replica import Replica
from tests.support.websocket import dial
from tests.support.wires import BASE, BATCH, BLOCK, Lane, follow, header, status, two_lanes, whole

EVIL: Final = {"hostName": "evil", "endpoints": ["rest://6.6.6.6:30100"], "instanceId": "evil"}
FOREVER: Final = {"mode": "push", "interval": 2**31 - 1, "times": 2**31 - 1}
OWN_KEY: Final = {"appId": "default", "serviceName": "SERVICECENTER", "environment": "production"}


class Own(NamedTuple):
    """The registry's own service, as a client of the default tenant sees it."""

    api: Api
    service_id: str
    instance_id: str

    @property
    def service(self) -> str:
        return f"/microservices/{self.service_id}"

    @property
    def instance(self) -> str:
        return f"{self.service}/instances/{self.instance_id}"

    def seen(self) -> list[bytes]:
        """Everything that may be seen of it."""
        paths = [self.service, self.instance, f"{self.service}/tags", f"{self.service}/schemas", "/health"]
        paths += [f"{self.service}/instances", f"{self.service}/providers", "/instances?appId=default&serviceName="]
        clusters = self.api.connection.request("GET", "/v4/default/admin/clusters").body
        return [self.api.get(path).body for path in paths] + [clusters]


@pytest.fixture
def own(default_api: Api) -> Iterator[Own]:
    """What a test does to it must leave no trace."""
    (instance,) = ok(default_api.get("/health")).json()["instances"]
    own = Own(default_api, instance["serviceId"], instance["instanceId"])
    before = own.seen()
    yield own
    assert own.seen() == before


#: method, path, body of every write that names the service or an instance of it in its path.
WRITES: Final[dict[str, tuple[str, str, Any]]] = {
    "register an instance": ("POST", "{service}/instances", {"instance": {**EVIL, "healthCheck": FOREVER}}),
    "register a replica anew": ("POST", "{service}/instances", {"instance": {**EVIL, "instanceId": "{instance_id}"}}),
    "unregister a replica": ("DELETE", "{instance}", None),
    "beat": ("PUT", "{instance}/heartbeat", None),
    "set the status": ("PUT", "{instance}/status?value=DOWN", None),
    "set the present status": ("PUT", "{instance}/status?value=UP", None),
    "set the instance's properties": ("PUT", "{instance}/properties", {"properties": {"a": "b"}}),
    "clear the instance's properties": ("PUT", "{instance}/properties", {"properties": {}}),
    "set properties": ("PUT", "{service}/properties", {"properties": {"allowCrossApp": "false"}}),
    "replace the tags": ("POST", "{service}/tags", {"tags": {"a": "b"}}),
    "clear the tags": ("POST", "{service}/tags", {"tags": {}}),
    "set a tag": ("PUT", "{service}/tags/a?value=b", None),
    "delete a tag": ("DELETE", "{service}/tags/a", None),
    "put a schema": ("PUT", "{service}/schemas/a", {"schema": "x"}),
    "replace the schemas": (
        "POST",
        "{service}/schemas",
        {"schemas": [{"schemaId": "a", "schema": "x", "summary": "s"}]},
    ),
    "delete a schema": ("DELETE", "{service}/schemas/a", None),
}


def written(own: Own, what: str, prefix: str = "/v4/default/registry", domain: str = "default") -> Response:
    """Send one of the writes, as a client of project `default` of this domain."""
    method, path, body = WRITES[what]
    target = prefix + path.replace("{service}", own.service).replace("{instance}", own.instance)
    content = None if body is None else json.dumps(body).replace("{instance_id}", own.instance_id).encode()
    return own.api.connection.request(method, target, content, {"X-Domain-Name": domain})


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("prefix", ["/v4/default/registry", "/registry/v3"])
def test_client_may_not_write_below_it(own: Own, what: str, prefix: str) -> None:
    """403001; also twice, when both lanes know the request's head."""
    for _ in range(3):
        assert_refused(written(own, what, prefix), 403001, "registry's own service")


@pytest.mark.parametrize("what", WRITES)
def test_another_tenant_does_not_even_see_it(own: Own, api: Api, what: str) -> None:
    """It stands in the default tenant; elsewhere its id is nobody's."""
    code = 400017 if "{instance}" in WRITES[what][1] else 400012
    assert_refused(written(own, what, domain=api.domain), code)


@pytest.mark.parametrize("query", ["", "?force=true"])
def test_it_is_not_deleted(own: Own, query: str) -> None:
    """400001, as the reference says it."""
    assert_refused(own.api.delete(own.service + query), 400001, "own service")


def test_it_is_not_deleted_among_others(own: Own) -> None:
    answer = ok(own.api.call("DELETE", "/microservices", {"serviceIds": [own.service_id], "force": True}))
    assert "own service" in answer.json()["services"][0]["errMessage"]


@pytest.mark.parametrize(
    "service",
    [
        {**OWN_KEY, "version": "99.0.0"},
        {**OWN_KEY, "version": "99.0.0", "serviceName": "evil", "alias": "SERVICECENTER"},
        {**OWN_KEY, "version": "0.1.0"},
        {**OWN_KEY, "version": "0.1.0", "serviceId": "evil"},
    ],
    ids=["another version", "by alias", "the same", "the same under another id"],
)
@pytest.mark.parametrize("parts", [{}, {"instances": [EVIL], "tags": {"a": "b"}}], ids=["alone", "with parts"])
def test_its_place_is_not_taken(own: Own, service: dict[str, str], parts: dict[str, Any]) -> None:
    """Neither is a version of it registered by a client, nor anything along with one."""
    assert_refused(own.api.post("/microservices", {"service": service, **parts}), 403001, "registry's own service")


def test_other_services_of_its_name_are_the_clients(api: Api, default_api: Api) -> None:
    """In another tenant, application or environment nobody looks for the registry."""
    ok(api.post("/microservices", {"service": OWN_KEY, "instances": [EVIL]}))
    for members in ({"appId": "shop"}, {"environment": "testing"}):
        service = {**OWN_KEY, **members}
        service_id = ok(default_api.post("/microservices", {"service": service})).json()["serviceId"]
        default_api.instance(service_id)
        assert_empty(default_api.delete(f"/microservices/{service_id}?force=1"))
    for asking in (api, default_api):
        found = ok(asking.find("SERVICECENTER", "default", env="production")).json()["instances"]
        assert ["6.6.6.6" in instance["endpoints"][0] for instance in found] == [False]


def test_heartbeat_set_refuses_it_and_keeps_the_others(own: Own, api: Api) -> None:
    """One reason per element."""
    asked = [{"serviceId": own.service_id, "instanceId": own.instance_id}, {"serviceId": "s", "instanceId": "i"}]
    first, second = ok(own.api.put("/heartbeats", {"instances": asked})).json()["instances"]
    assert "registry's own service" in first["errMessage"]
    assert "does not exist" in second["errMessage"]


def test_bulk_status_leaves_it_out(own: Own) -> None:
    """Every other instance of the tenant has the status then."""
    service_id = own.api.service("bulk")
    instance_id = own.api.instance(service_id)
    assert_empty(own.api.put("/instances/status", {"status": "TESTING", "matches": {"properties": {}}}))
    assert own.api.read_instance(service_id, instance_id)["status"] == "TESTING"
    assert_empty(own.api.delete(f"/microservices/{service_id}?force=1"))


def test_heartbeat_socket_is_not_opened(own: Own) -> None:
    """The handshake is answered 403, so that nobody waits for pings."""
    with dial(own.api, f"{own.instance}/heartbeat") as socket:
        assert socket.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_dependencies_are_not_written_for_it(own: Own, method: str) -> None:
    version = own.api.read_service(own.service_id)["version"]
    entry = {"consumer": {**OWN_KEY, "version": version}, "providers": [{"serviceName": "cart"}]}
    answer = own.api.call(method, "/dependencies", {"dependencies": [entry]})
    assert_refused(answer, 403001, "registry's own service")


def test_find_in_its_name_records_nothing(own: Own, registry: Replica) -> None:
    """A find is answered for every caller; no dependency follows from it, and no complaint either."""
    service_id = own.api.service("cart", environment="production", properties={"allowCrossApp": "true"})
    known = len(registry.log())
    for _ in range(2):
        ok(own.api.find(consumer=own.service_id))
        ok(own.api.batch([{"service": {"appId": "shop", "serviceName": "cart"}}], consumer=own.service_id))
    assert ok(own.api.get(f"{own.service}/providers")).body == b"{}"
    assert registry.log()[known:] == []
    assert_empty(own.api.delete(f"/microservices/{service_id}"))


# -- what replicas do ----------------------------------------------------------------------------------------------


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def registered(lane: Lane) -> tuple[str, str]:
    await lane.replica.registration.register()
    return lane.replica.registration.service_id, lane.replica.registration.instance_id


async def test_replicas_register_renew_and_leave() -> None:
    """The same calls that are refused to a client."""
    lane, _ = await two_lanes()
    registration, api = lane.replica.registration, lane.replica.api
    service_id, instance_id = await registered(lane)
    assert await registered(lane) == (service_id, instance_id)
    await api.heartbeats.beat(DEFAULT_TENANT, service_id, instance_id, ACTOR)
    with pytest.raises(Forbidden):
        await api.heartbeats.beat(DEFAULT_TENANT, service_id, instance_id, "10.0.0.1")
    await registration.leave()
    with pytest.raises(InstanceNotExists):
        await api.heartbeats.beat(DEFAULT_TENANT, service_id, instance_id, ACTOR)


async def test_fast_lane_renews_no_replica() -> None:
    """However well it knows the head of the request."""
    fast, plain = await two_lanes()
    service_id, instance_id = await registered(plain)
    await follow(fast, plain)
    beat = BASE + f"/microservices/{service_id}/instances/{instance_id}/heartbeat".encode()
    for lane in (fast, plain):
        wire = lane.connect()
        for _ in range(3):
            answer = await lane.say(wire, whole(b"PUT", beat, BLOCK))
            assert (status(answer), header(answer, b"X-Registry-Position")) == (403, lane.position)
            assert b'"errorCode":"403001"' in answer


@pytest.mark.parametrize("fast", [True, False])
async def test_batch_find_of_another_tenant_does_not_go_back_to_what_was(fast: bool) -> None:
    """Where a replica has left, one that has not heard of it yet hears of it before it names it again."""
    _, writer = await two_lanes()
    late = Lane(writer.server, fast)
    await registered(writer)
    block = b"Host: h\r\nX-Domain-Name: other"
    service = json.dumps({"service": {"serviceName": "cart", "serviceId": "cart"}}).encode()
    assert status(await writer.say(writer.connect(), whole(b"POST", BASE + b"/microservices", block, service))) == 200
    await follow(late)
    await writer.replica.registration.leave()
    held = {"service": OWN_KEY, "rev": "what another replica has said since"}
    asked = whole(b"POST", BATCH, block, json.dumps({"services": [held]}, separators=(",", ":")).encode())
    answer = await late.say(late.connect(), asked)
    assert b'"updated":[{"index":0,"rev":' in answer
    assert b'"instances"' not in answer


async def test_replica_whose_id_is_taken_registers_under_another() -> None:
    """The id follows from name and version, so a client may choose it for a service of its own."""
    lane, other = await two_lanes()
    expected, _ = await registered(lane)
    lane, other = await two_lanes()
    body = json.dumps({"service": {"serviceName": "cart", "serviceId": expected}}).encode()
    answer = await lane.say(lane.connect(), whole(b"POST", BASE + b"/microservices", BLOCK, body))
    assert status(answer) == 200
    service_id, _ = await registered(lane)
    await follow(other)
    assert (await registered(other))[0] == service_id != expected
