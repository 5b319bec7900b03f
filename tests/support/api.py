"""Api: the v4 API as one tenant's client calls it, and the shapes that every answer of it must have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.support.http import Connection, Response

#: The example body of the page "Registering a Microservice Instance", unknown member `stage` included.
EXAMPLE_INSTANCE: dict[str, Any] = {
    "endpoints": ["grpc://127.0.1.312:9980", "rest://127.0.0.111:8081"],
    "hostName": "localhost",
    "status": "UP",
    "stage": "dev",
    "properties": {"_TAGS": "A, B", "attr1": "a", "nodeIP": "127.0.0.1"},
    "dataCenterInfo": {"name": "dc", "region": "r1", "availableZone": "az1"},
    "healthCheck": {"mode": "push", "interval": 30, "times": 3},
}


#: What only a programmer reads: a pattern, or a name of Python's types.
_FOR_MACHINES = re.compile(r"regex|\\Z|\(\?|`(str|int|float|bool|array|object)\b")


class Api:
    """Calls below `/v4/{project}/registry`, all as one tenant."""

    def __init__(self, connection: Connection, domain: str = "default", project: str = "default") -> None:
        self.connection = connection
        self.domain = domain
        self.project = project

    def on(self, connection: Connection) -> Api:
        """The same tenant over another connection."""
        return Api(connection, self.domain, self.project)

    # -- any call ------------------------------------------------------------------------------------------------------

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str | bytes] | None = None
    ) -> Response:
        """Send a request; a body that is not bytes is sent as JSON, without spaces as clients do."""
        content = body
        if body is not None and not isinstance(body, bytes):
            content = json.dumps(body, separators=(",", ":")).encode()
        target = f"/v4/{self.project}/registry{path}"
        return self.connection.request(method, target, content, {"X-Domain-Name": self.domain, **(headers or {})})

    def get(self, path: str, headers: Mapping[str, str | bytes] | None = None) -> Response:
        return self.call("GET", path, None, headers)

    def put(self, path: str, body: Any = None, headers: Mapping[str, str | bytes] | None = None) -> Response:
        return self.call("PUT", path, body, headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str | bytes] | None = None) -> Response:
        return self.call("POST", path, body, headers)

    def delete(self, path: str, headers: Mapping[str, str | bytes] | None = None) -> Response:
        return self.call("DELETE", path, None, headers)

    # -- the usual ones, which must succeed ----------------------------------------------------------------------------

    def service(self, name: str = "cart", **members: Any) -> str:
        """Register a microservice of application `shop`; its id."""
        response = self.post("/microservices", {"service": {"serviceName": name, "appId": "shop", **members}})
        return str(ok(response).json()["serviceId"])

    def instance(self, service_id: str, **members: Any) -> str:
        """Register an instance; its id."""
        return str(ok(self.register(service_id, **members)).json()["instanceId"])

    def register(self, service_id: str, **members: Any) -> Response:
        """Register an instance with a host name, and whatever else is given."""
        return self.post(f"/microservices/{service_id}/instances", {"instance": {"hostName": "host", **members}})

    def read_instance(self, service_id: str, instance_id: str) -> dict[str, Any]:
        instance = ok(self.get(f"/microservices/{service_id}/instances/{instance_id}")).json()["instance"]
        assert isinstance(instance, dict)
        return instance

    def read_service(self, service_id: str) -> dict[str, Any]:
        service = ok(self.get(f"/microservices/{service_id}")).json()["service"]
        assert isinstance(service, dict)
        return service

    # -- discovery -----------------------------------------------------------------------------------------------------

    def instances_of(self, service_id: str, consumer: str = "", **query: str) -> Response:
        """All instances of one service version."""
        return self.get(f"/microservices/{service_id}/instances{_query(query)}", _consumer(consumer))

    def find(self, name: str = "cart", app: str = "shop", consumer: str = "", **query: str) -> Response:
        return self.get("/instances" + _query({"appId": app, "serviceName": name, **query}), _consumer(consumer))

    def batch(
        self,
        services: list[Any] | None = None,
        instances: list[Any] | None = None,
        consumer: str = "",
        query: str = "type=query",
    ) -> Response:
        body = {"services": services, "instances": instances}
        lists = {name: elements for name, elements in body.items() if elements is not None}
        return self.post(f"/instances/action?{query}", lists, _consumer(consumer))


def _query(parameters: Mapping[str, str]) -> str:
    return "?" + urlencode(parameters) if parameters else ""


def _consumer(consumer: str) -> dict[str, str]:
    return {"X-ConsumerId": consumer} if consumer else {}


def wanted(name: str = "cart", app: str = "shop", rev: str = "", **members: Any) -> dict[str, Any]:
    """One element of a batch find's `services`."""
    element: dict[str, Any] = {"service": {"serviceName": name, "appId": app, **members}}
    return {**element, "rev": rev} if rev else element


def wanted_instance(service_id: str, instance_id: str, rev: str = "") -> dict[str, Any]:
    """One element of a batch find's `instances`."""
    element: dict[str, Any] = {"instance": {"serviceId": service_id, "instanceId": instance_id}}
    return {**element, "rev": rev} if rev else element


def ids(response: Response) -> list[str]:
    """The instance ids of a list, sorted."""
    return sorted(instance["instanceId"] for instance in ok(response).json().get("instances", []))


def ok(response: Response) -> Response:
    """The response, which must be 200."""
    assert response.status == 200, f"{response.status}: {response.body!r}"
    return response


def assert_empty(response: Response) -> None:
    """Success without content: 200, `Content-Length: 0` and not a byte of body (D16)."""
    assert (response.status, response.body) == (200, b"")
    assert response.header("Content-Length") == "0"
    assert response.header("Content-Encoding") == ""


def assert_refused(response: Response, code: int, at: str = "") -> None:
    """An error in the documented shape: code as a string, compact JSON, HTTP status from the code's first digits.

    `at` is what `detail` must name: the place of the bad value.
    """
    assert response.status == code // 1000, f"{response.status}: {response.body!r}"
    assert response.body.startswith(b'{"errorCode":"%d","errorMessage":"' % code), response.body
    assert response.header("Content-Type") == "application/json; charset=UTF-8"
    assert response.rev == ""
    error = response.json()
    assert set(error) <= {"errorCode", "errorMessage", "detail"}
    detail = error.get("detail", "")
    assert at in detail, f"{at} is not named in {error}"
    assert not _FOR_MACHINES.search(detail), f"no words for people: {detail}"
