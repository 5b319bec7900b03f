"""Sample: a small registry with something of everything, and what it answers to every kind of read."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.support.http import Connection, Response

#: Domains, each with its project.
TENANTS: Final = (("default", "default"), ("acme", "p1"))
FIND: Final = "/v4/{project}/registry/instances?appId=shop&serviceName={name}&version={rule}"
READS: Final = (
    "/v4/{project}/registry/microservices",
    *(
        f"/v4/{{project}}/registry/microservices/{id}{what}"
        for id in ("cart-1", "cart-2", "till-1")
        for what in ("", "/instances", "/tags", "/schemas?withSchema=1", "/providers", "/consumers")
    ),
    "/v4/{project}/registry/microservices/cart-1/schemas/s1",
    "/v4/{project}/registry/microservices/cart-1/instances/a",
    "/v4/{project}/registry/existence?type=microservice&appId=shop&serviceName=cart&version=1.0.0",
    *(
        f"/v4/{{project}}/registry/instances?appId=shop&serviceName={name}&version={rule}"
        for name in ("cart", "basket", "till", "unknown")
        for rule in ("0%2B", "1.0.0", "latest", "1.0.0-2.0.0")
    ),
    "/v4/{project}/registry/instances?appId=shop&serviceName=cart&version=0%2B&tags=zone.a",
    "/v4/{project}/govern/microservices?options=tags,schemas,instances,dependencies",
    "/v4/{project}/govern/relations",
    "/v4/{project}/govern/apps",
    "/v1/{project}/gov/retry",
    "/v1/{project}/gov/display?app=shop&environment=",
)


def fill(connection: Connection) -> None:
    """Register it, through the API."""
    for domain, project in TENANTS:
        _fill(connection, domain, project)


def _fill(connection: Connection, domain: str, project: str) -> None:
    registry = f"/v4/{project}/registry"

    def call(method: str, path: str, body: Any = None, **headers: str) -> Response:
        content = None if body is None else json.dumps(body).encode()
        response = connection.request(method, path, content, {"X-Domain-Name": domain, **headers})
        assert response.status == 200, (method, path, response)
        return response

    def service(id: str, name: str, version: str, **more: Any) -> None:
        record = {"serviceId": id, "appId": "shop", "serviceName": name, "version": version, **more}
        call("POST", f"{registry}/microservices", {"service": record})

    def instance(service_id: str, id: str, port: int, **more: Any) -> None:
        # A client that lives long enough for any test.
        health = {"mode": "push", "interval": 30, "times": 200}
        record = {"instanceId": id, "hostName": "h", "endpoints": [f"rest://10.0.0.1:{port}"], "healthCheck": health}
        call("POST", f"{registry}/microservices/{service_id}/instances", {"instance": {**record, **more}})

    service("cart-1", "cart", "1.0.0", alias="basket", schemas=["s1", "s2"], properties={"allowCrossApp": "true"})
    service("cart-2", "cart", "2.0.0", framework={"name": "fw", "version": "1"}, description="the second")
    service("till-1", "till", "1.0.0", level="FRONT", paths=[{"path": "/till", "property": {"a": "b"}}])
    call("POST", f"{registry}/microservices/cart-1/tags", {"tags": {"zone": "a", "lane": "blue"}})
    call("PUT", f"{registry}/microservices/cart-1/tags/lane?value=green")
    call("PUT", f"{registry}/microservices/cart-1/schemas/s1", {"schema": "openapi: 3.0.0", "summary": "one"})
    call("PUT", f"{registry}/microservices/cart-2/properties", {"properties": {"colour": "blue"}})
    instance("cart-1", "a", 8080)
    instance("cart-1", "b", 8081, status="STARTING", properties={"zone": "one"})
    instance("cart-2", "c", 8082, dataCenterInfo={"name": "dc", "region": "r", "availableZone": "z"})
    instance("cart-2", "gone", 8083)
    call("PUT", f"{registry}/microservices/cart-1/instances/b/status?value=DOWN")
    call("PUT", f"{registry}/microservices/cart-2/instances/c/properties", {"properties": {"weight": "3"}})
    call("DELETE", f"{registry}/microservices/cart-2/instances/gone")
    call("GET", FIND.format(project=project, name="cart", rule="0%2B"), **{"X-ConsumerId": "till-1"})
    for name in ("slow", "gone"):
        policy = {"name": name, "selector": {"app": "shop", "environment": ""}, "spec": {"maxAttempts": 3}}
        made = call("POST", f"/v1/{project}/gov/retry", policy)
    call("DELETE", f"/v1/{project}/gov/retry/{made.json()['id']}")


def answers(connection: Connection) -> dict[str, Any]:
    """What it answers: by tenant and path, the status, the rev and the body."""
    found = {}
    for domain, project in TENANTS:
        for read in READS:
            path = read.format(project=project)
            found[f"{domain} GET {path}"] = _said(connection.request("GET", path, None, {"X-Domain-Name": domain}))
        path, body = f"/v4/{project}/registry/instances/action?type=query", json.dumps(_batch()).encode()
        found[f"{domain} POST {path}"] = _said(connection.request("POST", path, body, {"X-Domain-Name": domain}))
    return found


def _batch() -> dict[str, Any]:
    names = [
        {"service": {"appId": "shop", "serviceName": name, "version": "0+"}} for name in ("cart", "till", "unknown")
    ]
    return {"services": names, "instances": [{"instance": {"serviceId": "cart-1", "instanceId": "a"}}]}


def _said(response: Response) -> dict[str, Any]:
    return {
        "status": response.status,
        "rev": response.header("X-Resource-Revision"),
        "body": response.json() if response.body else None,
    }
