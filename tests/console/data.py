"""Data: a shop as one would register it, and names as nobody should."""

from __future__ import annotations

import json

from tests.support.api import Api, ok

#: Application -> its services, and in which versions.
SERVICES: dict[str, dict[str, list[str]]] = {
    "shop": {
        "cart": ["1.0.0", "1.1.0"],
        "catalog": ["2.3.0"],
        "checkout": ["1.0.0"],
        "pricing": ["1.0.0", "2.0.0"],
        "web-frontend": ["5.1.0"],
        "search": ["1.0.0"],
        "reviews": ["1.0.0"],
    },
    "payments": {
        "ledger": ["3.0.0"],
        "card-gateway": ["1.4.0"],
        "fraud-check": ["1.0.0", "1.1.0"],
        "invoices": ["1.0.0"],
    },
    "logistics": {"warehouse": ["1.0.0"], "shipping": ["2.0.0"], "tracking": ["1.0.0"], "routes": ["1.0.0"]},
    "people": {"accounts": ["1.0.0"], "notifications": ["1.0.0"], "mail": ["1.0.0"]},
}
#: Who finds whom.
FINDS = [
    *[("web-frontend", name) for name in ("cart", "catalog", "search", "reviews", "accounts", "checkout", "tracking")],
    *(("cart", "pricing"), ("cart", "catalog"), ("checkout", "cart"), ("checkout", "ledger"), ("search", "catalog")),
    *(("checkout", "card-gateway"), ("checkout", "shipping"), ("card-gateway", "fraud-check"), ("ledger", "invoices")),
    *(("invoices", "mail"), ("shipping", "warehouse"), ("shipping", "routes"), ("tracking", "shipping")),
    *(("accounts", "notifications"), ("notifications", "mail")),
]
STATUSES = ["UP", "UP", "UP", "DOWN", "UP", "STARTING", "UP", "OUTOFSERVICE"]
SCHEMA = """swagger: "2.0"
info: {title: cart api, version: 1.0.0}
basePath: /cart
paths:
  /items:
    get: {summary: All items, operationId: listItems, responses: {"200": {description: ok}}}
    post: {summary: Add an item, parameters: [{name: item, in: body}], responses: {"201": {description: created}}}
definitions:
  Item: {type: object, properties: {id: {type: string}, price: {type: number}}}
"""
#: Names that are programs where somebody reads them as such.
HOSTILE = "<img src=x onerror=hacked()>\"'`${hacked()}</script><script>hacked()</script>"


def fill(api: Api) -> None:
    """Register the shop."""
    app_of = {name: app for app, names in SERVICES.items() for name in names}
    number = 0
    for app, names in SERVICES.items():
        for name, versions in names.items():
            for version in versions:
                service_id = api.service(
                    name,
                    appId=app,
                    version=version,
                    serviceId=f"{name}-{version}",
                    environment="production",
                    description=f"The {name} service",
                    framework={"name": "java-chassis", "version": "3.2.1"},
                    properties={"allowCrossApp": "true", "team": app},
                    schemas=["rest"],
                )
                for place in range(1, 2 + number % 3):
                    number += 1
                    api.instance(
                        service_id,
                        instanceId=f"{service_id}-{place}",
                        hostName=f"{name}-{place}.prod",
                        endpoints=[f"rest://10.0.{number}.{place}:8080"],
                        status=STATUSES[number % len(STATUSES)],
                        properties={"zone": "a"},
                        healthCheck={"mode": "push", "interval": 900, "times": 3},
                        dataCenterInfo={"name": "dc1", "region": "eu", "availableZone": "az1"},
                    )
    ok(api.put("/microservices/cart-1.0.0/schemas/rest", {"schema": SCHEMA, "summary": "s"}))
    ok(api.post("/microservices/cart-1.0.0/tags", {"tags": {"tier": "one"}}))
    for consumer, provider in FINDS:
        for version in SERVICES[app_of[consumer]][consumer]:
            ok(api.find(provider, app_of[provider], consumer=f"{consumer}-{version}"))
    group: dict[str, object] = {
        "name": "checkout-paths",
        "selector": {"app": "shop", "environment": "production"},
        "spec": {"alias": "all", "matches": [{"name": "m", "apiPath": {"prefix": "/checkout"}, "method": ["POST"]}]},
    }
    save_policy(api, "match-group", group)
    save_policy(api, "retry", {**group, "spec": {"maxAttempts": 3}})


def save_policy(api: Api, kind: str, policy: dict[str, object]) -> str:
    """Create a traffic policy; its id."""
    target = f"/v1/{api.project}/gov/{kind}"
    body = json.dumps(policy).encode()
    return str(ok(api.connection.request("POST", target, body, {"X-Domain-Name": api.domain})).json()["id"])
