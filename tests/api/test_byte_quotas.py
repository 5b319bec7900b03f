"""Quotas by bytes: the same limit by every way in, and what is there already is never refused for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok, wanted
from tests.support.http import Response
from tests.support.replica import Replica, replica

INSTANCE, SERVICE, SCHEMAS, POLICIES, TENANT = 2_000, 3_000, 2_500, 2_200, 9_000
BODY = 262_144
LIMITS = {
    "REGISTRY_INSTANCE_MAX_BYTES": INSTANCE,
    "REGISTRY_BODY_MAX_BYTES": BODY,
    "QUOTA_SERVICE_BYTES": SERVICE,
    "QUOTA_SCHEMA_BYTES": SCHEMAS,
    "QUOTA_POLICY_BYTES": POLICIES,
    "QUOTA_TENANT_BYTES": TENANT,
}
PREFIX = ("--redis-prefix", "bytes:")
#: Hot requests with this header go the other way.
COLD = {"Origin": "http://console"}


@pytest.fixture(scope="module")
def narrow(redis_url: str) -> Iterator[Replica]:
    environment = {name: str(limit) for name, limit in LIMITS.items()}
    with replica("--redis-url", redis_url, *PREFIX, environment=environment) as process:
        yield process


@pytest.fixture(scope="module")
def generous(redis_url: str) -> Iterator[Replica]:
    """A replica of the same registry with the usual quotas."""
    with replica("--redis-url", redis_url, *PREFIX) as process:
        yield process


@pytest.fixture
def api(narrow: Replica, key_prefix: str) -> Api:
    return narrow.api(key_prefix)


def v3(api: Api, method: str, path: str, body: Any) -> Response:
    return api.connection.request(
        method, f"/registry/v3{path}", json.dumps(body).encode(), {"X-Domain-Name": api.domain}
    )


# -- one instance ------------------------------------------------------------------------------------------------------

#: service id, properties -> the answer to a request after which instance `i` has these properties.
Way = Callable[[Api, str, dict[str, str]], Response]


def _body(properties: dict[str, str]) -> dict[str, Any]:
    return {"instance": {"hostName": "h", "instanceId": "i", "properties": properties}}


def _put(api: Api, service_id: str, properties: dict[str, str]) -> Response:
    if ids(api.instances_of(service_id)) == []:
        ok(api.post(f"/microservices/{service_id}/instances", _body({})))
    return api.put(f"/microservices/{service_id}/instances/i/properties", {"properties": properties})


WAYS: dict[str, Way] = {
    "fast lane": lambda api, id, properties: api.post(f"/microservices/{id}/instances", _body(properties)),
    "app": lambda api, id, properties: api.post(f"/microservices/{id}/instances", _body(properties), COLD),
    "v3": lambda api, id, properties: v3(api, "POST", f"/microservices/{id}/instances", _body(properties)),
    "inline": lambda api, id, properties: api.post(
        "/microservices",
        {"service": {"serviceName": "cart", "appId": "shop"}, "instances": [_body(properties)["instance"]]},
    ),
    "properties": _put,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_instance_as_large_as_allowed_is_taken_and_one_byte_more_refused(api: Api, way: Way) -> None:
    """One limit, so no client finds a way in on which its own instance is too large for another of its calls."""
    service_id = api.service()
    largest = {"p": "x" * (INSTANCE - size_of_instance(api, service_id))}
    assert_refused(
        way(api, service_id, {"p": largest["p"] + "x"}),
        400001,
        f"the instance has {INSTANCE + 1} bytes as JSON, at most {INSTANCE} are stored; register less, or raise "
        "REGISTRY_INSTANCE_MAX_BYTES",
    )
    ok(way(api, service_id, largest))
    assert api.read_instance(service_id, "i")["properties"] == largest


def size_of_instance(api: Api, service_id: str) -> int:
    """Bytes of the instance `i` with an empty property `p`."""
    ok(WAYS["app"](api, service_id, {"p": ""}))
    instance = api.read_instance(service_id, "i")
    ok(api.delete(f"/microservices/{service_id}/instances/i"))
    return size(instance, "version")


def size(wire: dict[str, Any], *added: str) -> int:
    """Bytes of something as JSON, without what the registry adds."""
    added = (*added, "timestamp", "modTimestamp")
    return len(json.dumps({name: value for name, value in wire.items() if name not in added}, separators=(",", ":")))


# -- one service -------------------------------------------------------------------------------------------------------


def assert_service_refused(response: Response) -> None:
    assert_refused(response, 400100, f"of {SERVICE} in use")
    assert "QUOTA_SERVICE_BYTES" in response.json()["detail"]


def test_properties_that_post_takes_are_taken_by_put(api: Api) -> None:
    """A java client sends them again at its next start, and never finishes when it is refused."""
    empty = api.service("a", properties={"p": ""})
    room = SERVICE - size(api.read_service(empty))
    largest, more = ({"p": "x" * length} for length in (room, room + 1))
    assert_service_refused(api.put(f"/microservices/{empty}/properties", {"properties": more}))
    assert_empty(api.put(f"/microservices/{empty}/properties", {"properties": largest}))
    body = {"serviceName": "b", "appId": "shop", "properties": more}
    assert_service_refused(api.post("/microservices", {"service": body}))
    assert_service_refused(v3(api, "POST", "/microservices", {"service": body}))
    assert api.read_service(api.service("b", properties=largest))["properties"] == largest


@pytest.mark.parametrize(
    "member",
    [
        {"paths": [{"path": "/a" * SERVICE}]},
        {"framework": {"name": "a", "version": "b"}, "LBStrategy": {"k": "v" * SERVICE}},
        {"providers": [{"serviceName": "x" * SERVICE}]},
        {"schemas": [f"{number:0160}" for number in range(20)]},
    ],
    ids=["paths", "strategy", "providers", "ids of schemas"],
)
def test_everything_in_a_service_counts(api: Api, member: dict[str, Any]) -> None:
    assert_service_refused(api.post("/microservices", {"service": {"serviceName": "cart", **member}}))


def test_tags_count_with_their_service(api: Api) -> None:
    """Also those that come with it, and one that becomes longer."""
    service_id = api.service(properties={"p": ""})
    room = SERVICE - size(api.read_service(service_id)) - 100
    assert_empty(api.put(f"/microservices/{service_id}/properties", {"properties": {"p": "x" * room}}))
    path = f"/microservices/{service_id}/tags"
    assert_empty(api.post(path, {"tags": {"a": "x", "b": "x" * 60}}))
    many = {f"t{number}": "x" * 60 for number in range(5)}
    assert_service_refused(api.post(path, {"tags": many}))
    assert_service_refused(v3(api, "POST", path, {"tags": many}))
    inline = {"service": {"serviceName": "cart", "appId": "shop"}, "tags": many}
    assert_refused(api.post("/microservices", inline), 400001, "tags: bytes of service")
    assert_service_refused(api.put(f"{path}/a?value={'y' * 64}"))
    assert_empty(api.put(f"{path}/b?value=y"))
    assert ok(api.get(path)).json() == {"tags": {"a": "x", "b": "y"}}


# -- schemas -----------------------------------------------------------------------------------------------------------


def assert_schema_refused(response: Response, used: int, more: int) -> None:
    assert_refused(response, 400100, f"quota: {used} of {SCHEMAS} in use, {more} more wanted")
    assert "QUOTA_SCHEMA_BYTES" in response.json()["detail"]


def test_schemas_of_a_service_have_a_quota_of_bytes(api: Api) -> None:
    """Bytes, not characters; ids and summaries count."""
    service_id = api.service()
    path = f"/microservices/{service_id}/schemas"
    assert_empty(api.put(f"{path}/a", {"schema": "é" * 1_000, "summary": "s"}))
    assert_schema_refused(api.put(f"{path}/b", {"schema": "x" * 498}), 2_002, 499)
    assert_schema_refused(v3(api, "PUT", f"/microservices/{service_id}/schemas/b", {"schema": "x" * 498}), 2_002, 499)
    assert_empty(api.put(f"{path}/b", {"schema": "x" * 497}))
    assert_schema_refused(api.put(f"{path}/b", {"schema": "x" * 498}), SCHEMAS, 1)
    assert_empty(api.put(f"{path}/b", {"schema": "y" * 497}))
    assert_empty(api.delete(f"{path}/a"))
    assert_empty(api.put(f"{path}/b", {"schema": "x" * 1_000}))


def test_list_of_schemas_has_the_same_quota(api: Api) -> None:
    service_id = api.service()
    path = f"/microservices/{service_id}/schemas"
    schemas = [{"schemaId": id, "schema": "x" * 1_248, "summary": "s"} for id in "ab"]
    assert_empty(api.post(path, {"schemas": schemas}))
    assert_empty(api.post(path, {"schemas": schemas[::-1]}))
    schemas[0]["schema"] += "x"
    assert_schema_refused(api.post(path, {"schemas": schemas}), SCHEMAS, 1)
    assert_schema_refused(v3(api, "POST", path, {"schemas": schemas}), SCHEMAS, 1)
    assert_empty(api.post(path, {"schemas": schemas[1:]}))


# -- policies ----------------------------------------------------------------------------------------------------------


def policy(api: Api, method: str, path: str, length: int = 0) -> Response:
    body = json.dumps({"name": "p", "spec": {"maxAttempts": 1, "more": "x" * length}}).encode()
    return api.connection.request(method, f"/v1/default/gov/retry{path}", body, {"X-Domain-Name": api.domain})


def test_policies_of_a_tenant_have_a_quota_of_bytes(api: Api) -> None:
    """A list of them is one answer."""
    first, second = (ok(policy(api, "POST", "", 800)).json()["id"] for _ in range(2))
    for response in (policy(api, "POST", "", 400), policy(api, "PUT", f"/{first}", 1_200)):
        assert_refused(response, 400100, "policy bytes quota: ")
        assert f"of {POLICIES} in use" in response.json()["detail"]
        assert "QUOTA_POLICY_BYTES" in response.json()["detail"]
    assert_empty(policy(api, "PUT", f"/{first}", 800))
    assert_empty(policy(api, "PUT", f"/{first}", 700))
    assert_empty(policy(api, "DELETE", f"/{second}"))
    assert_empty(policy(api, "PUT", f"/{first}", 1_200))


# -- everything of one tenant ------------------------------------------------------------------------------------------


@pytest.fixture
def full(api: Api) -> str:
    """A service in a tenant that has no room for another: what is left is less than the smallest service takes."""
    service_id = api.service(alias="a", properties={"p": "x" * 1_000})
    number = 0
    while api.register(service_id, instanceId=f"i{number}", properties={"p": "x" * 1_500}).status == 200:
        number += 1
    while api.register(service_id, instanceId=f"s{number}").status == 200:
        number += 1
    assert number > 3
    return service_id


def assert_tenant_refused(response: Response) -> None:
    assert_refused(response, 400100, "tenant bytes quota: ")
    assert f"of {TENANT} in use" in response.json()["detail"]
    assert "QUOTA_TENANT_BYTES" in response.json()["detail"]


def test_full_tenant_is_refused_whatever_would_make_it_larger(api: Api, full: str) -> None:
    path = f"/microservices/{full}"
    long = {"p": "x" * 1_300}
    assert_tenant_refused(api.post("/microservices", {"service": {"serviceName": "other", "properties": long}}))
    assert_tenant_refused(api.put(f"{path}/properties", {"properties": {"p": "x" * 1_300}}))
    assert_tenant_refused(api.post(f"{path}/tags", {"tags": {f"t{number}": "x" * 60 for number in range(5)}}))
    assert_tenant_refused(api.put(f"{path}/schemas/a", {"schema": "x" * 300}))
    assert_tenant_refused(api.register(full, instanceId="i0", properties={"p": "x" * 1_800}))
    assert_tenant_refused(api.put(f"{path}/instances/i0/properties", {"properties": {"p": "x" * 1_800}}))
    assert_tenant_refused(policy(api, "POST", "", 300))


def test_full_tenant_keeps_what_it_has(api: Api, full: str) -> None:
    """Renewals, content of no more bytes, a status, and finds, of which the record is left out."""
    assert api.service() == full
    for character, length in (("x", 1_500), ("y", 1_500), ("y", 1_400)):
        api.instance(full, instanceId="i0", properties={"p": character * length})
        ok(api.put(f"/microservices/{full}/properties", {"properties": {"p": character * 1_000}}))
    ok(api.put(f"/microservices/{full}/instances/i1/status?value=OUTOFSERVICE"))
    assert "i0" in ids(api.find(consumer=full))
    assert ok(api.batch([wanted()], consumer=full)).json()["services"]["updated"]


def test_what_is_removed_makes_room(api: Api, full: str) -> None:
    ok(api.delete(f"/microservices/{full}/instances/i0"))
    api.instance(full, instanceId="new", properties={"p": "x" * 1_400})
    ok(api.delete(f"/microservices/{full}?force=1"))
    api.instance(api.service(), properties={"p": "x" * 1_700})


# -- what is there already ---------------------------------------------------------------------------------------------


def test_lowered_quota_never_refuses_what_is_there_nor_what_makes_it_smaller(api: Api, generous: Replica) -> None:
    """An operator sets the reference's limits: those who live on must still be able to come back."""
    before = generous.api(api.domain)
    properties = {"p": "x" * 4_000}
    service_id = before.service(properties=properties)
    path = f"/microservices/{service_id}"
    before.instance(service_id, instanceId="i", properties=properties)
    assert_empty(before.put(f"{path}/schemas/a", {"schema": "x" * 4_000}))
    policy_id = ok(policy(before, "POST", "", 4_000)).json()["id"]
    assert api.service(properties=properties) == service_id
    for length in (4_000, 3_999):
        properties = {"p": "y" * length}
        assert_empty(api.put(f"{path}/properties", {"properties": properties}))
        assert api.instance(service_id, instanceId="i", properties=properties) == "i"
        assert api.instance(service_id, instanceId="i", properties=properties) == "i"
        assert_empty(api.put(f"{path}/instances/i/properties", {"properties": {"p": "z" * length}}))
        assert_empty(api.put(f"{path}/schemas/a", {"schema": "y" * length}))
        assert_empty(policy(api, "PUT", f"/{policy_id}", length))
    more = {"properties": {"p": "x" * 4_000}}
    assert_service_refused(api.put(f"{path}/properties", more))
    assert_refused(api.put(f"{path}/instances/i/properties", more), 400001, "REGISTRY_INSTANCE_MAX_BYTES")
    assert_schema_refused(api.put(f"{path}/schemas/a", {"schema": "x" * 4_000}), 4_000, 1)


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, COLD], ids=["fast lane", "app"])
@pytest.mark.parametrize("path", ["/microservices/{}/instances", "/instances/action?type=query"])
def test_body_as_large_as_allowed_is_read_and_one_byte_more_refused(
    api: Api, path: str, headers: dict[str, str]
) -> None:
    path = path.format(api.service())
    body = b'{"instance":{"hostName":"h"},"services":[{"service":{"appId":"shop","serviceName":"cart"}}],"pad":"'
    body += b"x" * (BODY - len(body) - 2) + b'"}'
    ok(api.post(path, body, headers))
    refused = api.post(path, body.replace(b"pad", b"padd"), headers)
    assert_refused(refused, 400001, f"the body is larger than {BODY} bytes (REGISTRY_BODY_MAX_BYTES)")
