"""Quotas: what a tenant and a service may hold, and what a client is told when it is enough. Each is 2 here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_empty, assert_refused, ids, ok
from tests.support.http import Response
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

QUOTAS = ("QUOTA_SERVICE", "QUOTA_INSTANCE", "QUOTA_SCHEMA", "QUOTA_TAG", "QUOTA_ENDPOINT", "QUOTA_POLICY")


@pytest.fixture(scope="module")
def small(redis_url: str) -> Iterator[Replica]:
    """A registry in which everything may be twice."""
    environment = dict.fromkeys(QUOTAS, "2")
    with replica("--redis-url", redis_url, "--redis-prefix", "quotas:", environment=environment) as process:
        yield process


@pytest.fixture
def api(small: Replica, key_prefix: str) -> Api:
    """A client of a tenant of its own, there."""
    return small.api(key_prefix)


def assert_quota_refused(response: Response, what: str, variable: str) -> None:
    """400100, and the refusal says which quota, how much of it is used, and what helps."""
    assert_refused(response, 400100, f"{what} quota: 2 of 2 in use")
    assert variable in response.json()["detail"]


# -- services ----------------------------------------------------------------------------------------------------------


def test_service_beyond_the_quota_is_refused_by_name_usage_and_limit(api: Api) -> None:
    """Versions count (7)."""
    api.service(version="1.0")
    api.service(version="2.0")
    body = {"service": {"serviceName": "cart", "appId": "shop", "version": "3.0"}}
    assert_quota_refused(api.post("/microservices", body), "service", "QUOTA_SERVICE")
    assert len(ok(api.get("/microservices")).json()["services"]) == 2


def test_known_service_registers_again_at_full_quota(api: Api) -> None:
    """kitex and hertz always POST: a restart must not fail (D11)."""
    service_id = api.service(alias="shop:cart")
    api.service("till")
    assert api.service() == service_id
    assert api.service(serviceId=service_id) == service_id
    assert api.service("other", alias="shop:cart") == service_id


def test_conflict_is_told_before_the_quota(api: Api) -> None:
    """More quota would not help (3.2)."""
    service_id = api.service()
    api.service("till")
    for service in ({"serviceName": "cart", "serviceId": "mine"}, {"serviceName": "new", "serviceId": service_id}):
        assert_refused(api.post("/microservices", {"service": {"appId": "shop", **service}}), 400010)


def test_deleted_service_makes_room(api: Api) -> None:
    """What the refusal advises works (7)."""
    service_id = api.service()
    api.service("till")
    ok(api.delete(f"/microservices/{service_id}"))
    api.service("new")


def test_quota_is_per_tenant(api: Api) -> None:
    """One project that is full leaves the others alone (7)."""
    for name in ("a", "b"):
        api.service(name)
    Api(api.connection, api.domain, "another").service("c")


# -- instances ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(api: Api) -> str:
    """A service with two instances: `i` and one that brings its endpoints only."""
    service_id = api.service()
    api.instance(service_id, instanceId="i")
    ok(api.post(f"/microservices/{service_id}/instances", {"instance": EXAMPLE_INSTANCE}))
    return service_id


def test_instance_beyond_the_quota_is_refused_by_name_usage_and_limit(api: Api, full: str) -> None:
    """Of all services of the tenant together (7)."""
    assert_quota_refused(api.register(full), "instance", "QUOTA_INSTANCE")
    other = api.service("other")
    assert_quota_refused(api.register(other, instanceId="i"), "instance", "QUOTA_INSTANCE")
    assert ok(api.instances_of(other)).body == b"{}"


def test_known_instance_registers_again_at_full_quota(api: Api, full: str) -> None:
    """By its id, by its endpoints, with the same content and with another (D11, D1, D2)."""
    before = ids(api.find())
    for members in ({}, {"hostName": "another"}):
        assert api.instance(full, instanceId="i", **members) == "i"
        sent = {"instance": {**EXAMPLE_INSTANCE, **members}}
        assert ok(api.post(f"/microservices/{full}/instances", sent)).json()["instanceId"] in before
    assert ids(api.find()) == before
    assert api.read_instance(full, "i")["hostName"] == "another"


def test_unregistered_instance_makes_room(api: Api, full: str) -> None:
    """7."""
    ok(api.delete(f"/microservices/{full}/instances/i"))
    api.instance(full, instanceId="new")


def test_forced_deletion_of_a_service_makes_room_for_all_its_instances(api: Api, full: str) -> None:
    """7."""
    ok(api.delete(f"/microservices/{full}?force=1"))
    service_id = api.service()
    api.instance(service_id)
    api.instance(service_id)
    assert_quota_refused(api.register(service_id), "instance", "QUOTA_INSTANCE")


def test_inline_instance_beyond_the_quota_fails_as_a_part(api: Api) -> None:
    """The service stays registered, the failed part is named (3.2)."""
    parts = [{"hostName": "h", "instanceId": f"i{number}"} for number in range(3)]
    response = api.post("/microservices", {"service": {"serviceName": "cart", "appId": "shop"}, "instances": parts})
    assert_refused(response, 400001, "instances[2]: instance quota: 2 of 2 in use")
    assert ids(api.find()) == ["i0", "i1"]


def test_the_registrys_own_service_and_instances_do_not_count(small: Replica, redis_url: str) -> None:
    """They are not the client's; and a replica must find its place in a tenant that is full."""
    api = small.api("default")
    for name in ("a", "b"):
        api.instance(api.service(name))
    assert_quota_refused(api.post("/microservices", {"service": {"serviceName": "c"}}), "service", "QUOTA_SERVICE")
    assert_quota_refused(api.register(api.service("a")), "instance", "QUOTA_INSTANCE")
    environment = dict.fromkeys(QUOTAS, "1")
    with replica("--redis-url", redis_url, "--redis-prefix", "quotas:", environment=environment) as another:
        until_sync(lambda: len(ids(another.api("default").get("/health"))) == 2, "both replicas to be registered", 10)


# -- endpoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True], ids=["by itself", "inline"])
def test_endpoints_beyond_the_quota_are_refused(api: Api, inline: bool) -> None:
    """By every way in; an instance of which the endpoints change is one too."""
    endpoints = ["rest://1:1", "rest://2:2", "rest://3:3"]
    service_id = api.service()
    instance_id = api.instance(service_id, endpoints=endpoints[:2])
    refused = "endpoint quota: 2 of 2 in use, 1 more wanted"
    instance = {"hostName": "h", "instanceId": instance_id, "endpoints": endpoints}
    if inline:
        body = {"service": {"serviceName": "cart", "appId": "shop"}, "instances": [instance]}
        assert_refused(api.post("/microservices", body), 400001, f"instances[0]: {refused}")
    else:
        assert_refused(api.register(service_id, **instance), 400100, refused)
    assert api.read_instance(service_id, instance_id)["endpoints"] == endpoints[:2]


# -- traffic policies --------------------------------------------------------------------------------------------------


def policy(api: Api, method: str, path: str, **members: Any) -> Response:
    body = {"spec": {"maxAttempts": 1}, **members}
    headers = {"X-Domain-Name": api.domain}
    return api.connection.request(method, f"/v1/default/gov/{path}", json.dumps(body).encode(), headers)


def test_policy_beyond_the_quota_is_refused_by_name_usage_and_limit(api: Api) -> None:
    """Of all kinds together; one that is there may be changed, and one that is deleted makes room."""
    first, _ = (ok(policy(api, "POST", "retry", name=name)).json()["id"] for name in "ab")
    body = {"name": "c", "spec": {"rate": "1"}}
    assert_quota_refused(policy(api, "POST", "rate-limiting", **body), "policy", "QUOTA_POLICY")
    assert_empty(policy(api, "PUT", f"retry/{first}", name="another"))
    assert_empty(policy(api, "DELETE", f"retry/{first}"))
    ok(policy(api, "POST", "rate-limiting", **body))


# -- schemas and tags --------------------------------------------------------------------------------------------------


def complete(schema_id: str) -> dict[str, str]:
    return {"schemaId": schema_id, "schema": "text", "summary": "a"}


def test_schema_beyond_the_quota_is_refused_by_name_usage_and_limit(api: Api) -> None:
    """PUT of a new id; of one that is there it is none (3.4, D11)."""
    service_id = api.service()
    path = f"/microservices/{service_id}/schemas"
    for schema_id in ("a", "b"):
        assert_empty(api.put(f"{path}/{schema_id}", {"schema": "text"}))
    response = api.put(f"{path}/c", {"schema": "text"})
    assert_quota_refused(response, f"schema of service {service_id}", "QUOTA_SCHEMA")
    assert_empty(api.put(f"{path}/b", {"schema": "another"}))
    ok(api.post(path, {"schemas": [complete("c"), complete("d")]}))


def test_list_of_schemas_beyond_the_quota_is_400001(api: Api) -> None:
    """And leaves the old list (3.4, 7)."""
    service_id = api.service(schemas=["a"])
    response = api.post(f"/microservices/{service_id}/schemas", {"schemas": [complete(c) for c in "xyz"]})
    assert_refused(response, 400001, "QUOTA_SCHEMA")
    assert api.read_service(service_id)["schemas"] == ["a"]


def test_service_that_declares_schemas_beyond_the_quota_is_400001(api: Api) -> None:
    """Unless it is known: then what it declares is not looked at (3.2, 7, D11)."""
    body: dict[str, Any] = {"serviceName": "cart", "appId": "shop", "schemas": ["a", "b", "c"]}
    assert_refused(api.post("/microservices", {"service": body}), 400001, "QUOTA_SCHEMA")
    service_id = api.service(schemas=["a", "b"])
    assert ok(api.post("/microservices", {"service": body})).json() == {"serviceId": service_id}


def test_tags_beyond_the_quota_are_400001(api: Api) -> None:
    """7; the set is left as it was."""
    service_id = api.service()
    path = f"/microservices/{service_id}/tags"
    assert_empty(api.post(path, {"tags": {"a": "x", "b": "x"}}))
    assert_refused(api.post(path, {"tags": {"a": "x", "b": "x", "c": "x"}}), 400001, "QUOTA_TAG")
    assert ok(api.get(path)).json() == {"tags": {"a": "x", "b": "x"}}
    assert_empty(api.put(f"{path}/a?value=y"))


# -- more than by default ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quotas_can_be_raised_above_their_defaults(redis_url: str, key_prefix: str) -> None:
    """The refusal says "raise QUOTA_SCHEMA": then that must help."""
    environment = dict.fromkeys(QUOTAS, "150")
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix, environment=environment) as process:
        api = process.api("tenant")
        names = [f"n{number}" for number in range(150)]
        path = f"/microservices/{api.service(schemas=names)}"
        assert_empty(api.post(f"{path}/tags", {"tags": dict.fromkeys(names, "x")}))
        assert_empty(api.post(f"{path}/schemas", {"schemas": [complete(name) for name in names]}))
        assert_refused(api.post(f"{path}/schemas", {"schemas": [complete(name) for name in [*names, "more"]]}), 400001)
        assert_refused(api.put(f"{path}/schemas/more", {"schema": "text"}), 400100, "150 of 150")
