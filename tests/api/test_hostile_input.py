"""Whatever bytes arrive, the registry answers in its own words: never 500, never silence, and it goes on.

api-rules.md 1.5: the reference answers some of them with an empty 200.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.api import EXAMPLE_INSTANCE, Api, wanted, wanted_instance
from tests.support.http import Connection, Response
from tests.support.replica import Replica

#: What any of these requests may be answered with; 301 is for paths that hold `//` or dots.
ANSWERS = (200, 301, 304, 400, 404, 405)

SERVICE = {
    "serviceName": "cart",
    "appId": "shop",
    "version": "1.0",
    "framework": {"name": "f"},
    "paths": [{"path": "/"}],
}
BODIES: dict[str, Any] = {
    "/microservices": {"service": SERVICE},
    "/microservices/s/instances": {"instance": EXAMPLE_INSTANCE},
    "/instances/action?type=query": {"services": [wanted(rev="x")], "instances": [wanted_instance("s", "i", "x")]},
}
PUTS: dict[str, Any] = {
    "/microservices/s/properties": {"properties": {"k": "v"}},
    "/microservices/s/instances/i/properties": {"properties": {"k": "v"}},
    "/heartbeats": {"instances": [{"serviceId": "s", "instanceId": "i"}]},
}

texts = st.text(max_size=70) | st.sampled_from(["\ud800", "\x00", "UP", "push", "*", "0+", "1.0", "a\n", "é" * 64])
scalars = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | texts
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=8)


@st.composite
def mutated(draw: st.DrawFn, body: Any) -> bytes:
    """A valid body with one value, or one member's name, replaced by something else."""
    tree = copy.deepcopy(body)
    places: list[tuple[Any, Any]] = []
    _collect(tree, places)
    parent, key = draw(st.sampled_from(places))
    if isinstance(parent, dict) and draw(st.booleans()):
        parent[draw(st.sampled_from([key.upper(), key.lower(), ""]) | texts)] = parent.pop(key)
    else:
        parent[key] = draw(values)
    return json.dumps(tree, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def _collect(node: Any, places: list[tuple[Any, Any]]) -> None:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        places.append((node, key))
        _collect(child, places)


@pytest.fixture(scope="module")
def tenant(registry: Replica) -> Iterator[Api]:
    """One tenant for all examples, with what they are about."""
    with registry.connect() as connection:
        api = Api(connection, f"hostile-{uuid.uuid4().hex}")
        api.instance(api.service(serviceId="s"), instanceId="i")
        yield api


@pytest.fixture(scope="module")
def said_before(registry: Replica) -> int:
    """How much the registry had logged before this file."""
    return len(registry.log())


def assert_answered(tenant: Api, response: Response) -> None:
    assert response.status in ANSWERS, f"{response.status}: {response.body!r}"
    if response.status == 400 and response.header("Content-Type").startswith("application/json"):
        assert response.json()["errorCode"].startswith("400")
    assert tenant.connection.surplus() == b""


@pytest.mark.usefixtures("said_before")
@given(data=st.data(), path=st.sampled_from([*BODIES, *PUTS]))
def test_body_that_is_almost_right_is_answered(tenant: Api, data: st.DataObject, path: str) -> None:
    """A client's bug in one member is its own failure, not ours."""
    body = data.draw(mutated(BODIES.get(path) or PUTS[path]))
    assert_answered(tenant, tenant.call("POST" if path in BODIES else "PUT", path, body))


@given(
    body=st.binary(max_size=80) | values.map(lambda v: json.dumps(v).encode()), path=st.sampled_from([*BODIES, *PUTS])
)
def test_body_of_anything_is_answered(tenant: Api, body: bytes, path: str) -> None:
    """Random bytes and random JSON."""
    assert_answered(tenant, tenant.call("POST" if path in BODIES else "PUT", path, body))


#: Any byte that may stand in a request line.
raw = st.lists(st.sampled_from([n for n in range(33, 256) if n not in (0x23, 0x7F)]), max_size=40).map(bytes)
pairs = st.tuples(
    st.sampled_from(
        [b"appId", b"serviceName", b"version", b"env", b"tags", b"rev", b"type", b"value", b"force", b"noCache"]
    ),
    raw | st.sampled_from([b"cart", b"shop", b"0+", b"%FF", b"%", b"%ED%A0%80", b"%00", b"%C0%80", b"1"]),
)
queries = raw | st.lists(pairs, max_size=4).map(lambda found: b"&".join(name + b"=" + value for name, value in found))
GETS = ["/instances", "/existence", "/microservices", "/microservices/s/instances", "/microservices/s/instances/i"]


@given(path=st.sampled_from(GETS), query=queries)
@example(path="/instances", query=b"appId=shop&serviceName=cart&version=%25FF")
@example(path="/instances", query=b"appId=shop&serviceName=cart&version=%25ED%25A0%2580")
@example(path="/existence", query=b"type=microservice&appId=shop&serviceName=cart&version=%")
def test_query_of_anything_is_answered(tenant: Api, path: str, query: bytes) -> None:
    """Bad escapes, bytes that are no text, parameters twice."""
    assert_answered(tenant, request(tenant, "GET", path.encode() + b"?" + query))


@given(service=raw, instance=raw, method=st.sampled_from(["GET", "PUT", "DELETE", "POST"]))
@example(service=b"\xff", instance=b"i", method="PUT")
@example(service=b"%FF", instance=b"%00", method="PUT")
@example(service=b"%ED%A0%80", instance=b"i", method="GET")
def test_path_of_anything_is_answered(tenant: Api, service: bytes, instance: bytes, method: str) -> None:
    """Ids that nobody could have registered."""
    for tail in (b"", b"/heartbeat"):
        path = b"/microservices/%s/instances/%s%s" % (service, instance, tail)
        assert_answered(tenant, request(tenant, method, path))


@given(
    name=st.sampled_from(["X-ConsumerId", "X-consumer_id", "X-Registry-Position", "Accept-Encoding", "X-Domain-Name"]),
    value=st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=40).map(bytes),
)
def test_header_of_anything_is_answered(tenant: Api, name: str, value: bytes) -> None:
    """Values that are no text, no id and no position."""
    headers: dict[str, str | bytes] = {"X-Domain-Name": tenant.domain, name: value}
    assert_answered(tenant, tenant.call("GET", "/instances?appId=shop&serviceName=cart", None, headers))


def request(tenant: Api, method: str, path: bytes) -> Response:
    connection: Connection = tenant.connection
    return connection.request(method, b"/v4/default/registry" + path, None, {"X-Domain-Name": tenant.domain})


def test_registry_has_not_complained(said_before: int, registry: Replica) -> None:
    """None of this made it log a failure of its own. Runs last in this file."""
    assert [line["message"] for line in registry.log()[said_before:] if line["level"] == "error"] == []
