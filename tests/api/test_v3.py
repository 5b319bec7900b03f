"""The third version of the API: `/registry/v3/X` is `/v4/default/registry/X` for clients that never moved.

api-rules.md 8, 1.1; clients.md 1.B.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok
from tests.support.http import Response
from tests.support.websocket import WebSocket


class V3:
    """Calls below `/registry/v3`, as one tenant that is named in the old header."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Response:
        content = None if body is None else json.dumps(body).encode()
        headers = {"X-Tenant-Name": self._api.domain, **(headers or {})}
        return self._api.connection.request(method, f"/registry/v3{path}", content, headers)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Response:
        return ok(self.call("GET", path, None, headers))


@pytest.fixture
def v3(api: Api) -> V3:
    return V3(api)


def test_service_and_instance_live_through_v3(api: Api, v3: V3) -> None:
    """Register, beat, change, look at and take away, all with the old paths (8)."""
    service = {"service": {"serviceName": "cart", "appId": "shop", "version": "1.0"}}
    service_id = ok(v3.call("POST", "/microservices", service)).json()["serviceId"]
    path = f"/microservices/{service_id}"
    assert_empty(v3.call("PUT", f"{path}/properties", {"properties": {"k": "v"}}))
    assert v3.get(path).json() == {"service": api.read_service(service_id)}
    assert v3.get("/existence?type=microservice&appId=shop&serviceName=cart&version=1.0").json() == {
        "serviceId": service_id
    }
    instance = {"instance": {"hostName": "h", "instanceId": "i"}}
    assert ok(v3.call("POST", f"{path}/instances", instance)).json() == {"instanceId": "i"}
    assert_empty(v3.call("PUT", f"{path}/instances/i/heartbeat"))
    assert_empty(v3.call("PUT", f"{path}/instances/i/status?value=DOWN"))
    assert_empty(v3.call("PUT", f"{path}/instances/i/properties", {"properties": {"a": "b"}}))
    beats = {"instances": [{"serviceId": service_id, "instanceId": "i"}]}
    assert ok(v3.call("PUT", "/heartbeats", beats)).json() == beats
    read = v3.get(f"{path}/instances/i").json()["instance"]
    assert (read["status"], read["properties"]) == ("DOWN", {"a": "b"})
    assert_empty(v3.call("DELETE", f"{path}/instances/i"))
    assert ok(v3.call("DELETE", "/microservices", {"serviceIds": [service_id]})).json() == {
        "services": [{"serviceId": service_id}]
    }


def test_tags_and_schemas_are_written_through_v3(api: Api, v3: V3, service_id: str) -> None:
    """8."""
    path = f"/microservices/{service_id}"
    assert_empty(v3.call("POST", f"{path}/tags", {"tags": {"a": "x", "b": "x"}}))
    assert_empty(v3.call("PUT", f"{path}/tags/a?value=y"))
    assert_empty(v3.call("DELETE", f"{path}/tags/b"))
    assert ok(api.get(f"{path}/tags")).json() == {"tags": {"a": "y"}}
    assert_empty(v3.call("POST", f"{path}/schemas", {"schemas": [{"schemaId": "s", "schema": "x", "summary": "a"}]}))
    assert_empty(v3.call("PUT", f"{path}/schemas/t", {"schema": "y"}))
    assert_empty(v3.call("DELETE", f"{path}/schemas/s"))
    assert ok(api.get(f"{path}/schemas")).json() == {"schemas": [{"schemaId": "s"}, {"schemaId": "t"}]}
    assert_empty(v3.call("DELETE", path))


@pytest.mark.parametrize(
    "path",
    [
        "/microservices",
        "/microservices/{id}",
        "/microservices/{id}/tags",
        "/microservices/{id}/schemas",
        "/microservices/{id}/schemas/s",
        "/microservices/{id}/providers",
        "/microservices/{id}/consumers",
        "/microservices/{id}/instances",
        "/microservices/{id}/instances/i",
        "/instances?appId=shop&serviceName=cart",
        "/existence?type=schema&serviceId={id}&schemaId=s",
        "/microservices/nobody",
        "/microservices/nobody/instances/i",
        "/instances?appId=shop&serviceName=nobody",
    ],
)
def test_read_answers_as_its_v4_twin(api: Api, v3: V3, service_id: str, path: str) -> None:
    """The same bytes, revision and summary (8)."""
    api.instance(service_id, instanceId="i")
    ok(api.post(f"/microservices/{service_id}/tags", {"tags": {"a": "x"}}))
    ok(api.put(f"/microservices/{service_id}/schemas/s", {"schema": "text", "summary": "a"}))
    ok(api.find(consumer=service_id))
    path = path.replace("{id}", service_id)
    old, new = v3.call("GET", path), api.get(path)
    assert (old.status, old.body, old.rev) == (new.status, new.body, new.rev)
    assert old.header("X-Schema-Summary") == new.header("X-Schema-Summary")
    assert old.header("Content-Type") == new.header("Content-Type")


def test_find_through_v3_is_304_and_records_the_consumer(api: Api, v3: V3, service_id: str) -> None:
    """`X-ConsumerId` and `rev` are the same (8)."""
    consumer_id = api.service("consumer")
    path = "/instances?appId=shop&serviceName=cart"
    rev = v3.get(path, {"X-ConsumerId": consumer_id}).rev
    assert v3.call("GET", f"{path}&rev={rev}").status == 304
    providers = ok(api.get(f"/microservices/{consumer_id}/providers")).json()["providers"]
    assert [service["serviceId"] for service in providers] == [service_id]


# -- tenants -----------------------------------------------------------------------------------------------------------


def test_project_is_always_default(api: Api, v3: V3) -> None:
    """What another project holds is not there (8, 1.1)."""
    other = Api(api.connection, api.domain, "another")
    service_id = other.service()
    assert v3.call("GET", f"/microservices/{service_id}").status == 400
    assert v3.get("/microservices").body == b"{}"


def test_tenant_is_named_by_either_header_and_the_old_one_wins(api: Api, service_id: str) -> None:
    """`X-Tenant-Name`, else `X-Domain-Name`, else `default` (1.1)."""

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return api.connection.request("GET", f"/registry/v3/microservices/{service_id}", None, named).status

    assert status(X_Tenant_Name=api.domain) == 200
    assert status(X_Domain_Name=api.domain) == 200
    assert status(X_Tenant_Name=api.domain, X_Domain_Name="another") == 200
    assert status(X_Tenant_Name="", X_Domain_Name=api.domain) == 200
    assert status(X_Tenant_Name="another", X_Domain_Name=api.domain) == 400
    assert status() == 400


def test_old_header_counts_for_nothing_in_v4(api: Api, service_id: str) -> None:
    """A proxy that adds it must not move v4 clients to another tenant (1.1)."""
    ok(api.get(f"/microservices/{service_id}", {"X-Tenant-Name": "another"}))


def test_old_header_given_twice_is_refused(api: Api) -> None:
    """Whose request it is must not depend on which header a proxy keeps (1.1)."""
    headers = {"X-Tenant-Name": "a", "x-tenant-name": "b"}
    assert_refused(api.connection.request("GET", "/registry/v3/microservices", None, headers), 400001)


# -- what is not the same ----------------------------------------------------------------------------------------------


def test_version_and_health_stand_at_the_root(api: Api) -> None:
    """Sermant asks `/health` (8)."""
    version = ok(api.connection.request("GET", "/version")).json()
    assert version["apiVersion"] == "3.0.0"
    health = ok(api.connection.request("GET", "/health"))
    assert health.json() == ok(api.get("/health")).json()
    assert health.json()["instances"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/instances/action?type=query"),
        ("PUT", "/instances/status"),
        ("POST", "/dependencies"),
        ("PUT", "/dependencies"),
        ("GET", "/version"),
        ("GET", "/health"),
        ("GET", "/health/readiness"),
        ("GET", "/govern/microservices"),
    ],
)
def test_what_v3_never_had_is_404(v3: V3, method: str, path: str) -> None:
    """8."""
    response = v3.call(method, path)
    assert (response.status, response.body) == (404, b"404 page not found\n")


def test_watcher_works_through_v3(api: Api, service_id: str) -> None:
    """The reference routes it and fails with 500 (8); java 2 with `api.version=v3` would poll only."""
    ok(api.find(consumer=service_id))
    path = f"/registry/v3/microservices/{service_id}/watcher"
    with WebSocket(api.connection.address, path, {"X-Tenant-Name": api.domain}) as socket:
        assert socket.status == 101
        instance_id = api.instance(service_id)
        event = socket.next_event()
    assert (event["action"], event["key"]["tenant"]) == ("CREATE", f"{api.domain}/default")
    assert ids(api.find()) == [instance_id]
    response = V3(api).call("GET", f"/microservices/{service_id}/watcher")
    assert (response.status, response.header("Sec-Websocket-Version")) == (400, "13")
