"""Requests for tenants that do not exist leave nothing behind: a client can make up as many names as it likes.

Both lanes, without sockets and in virtual time (tests/support/wires.py).
"""

from __future__ import annotations

import asyncio
import gc
import json
import types
from collections.abc import Iterator
from typing import Any, Final

import pytest

from registry.http_api.events import WAIT_MAX_S
from registry.http_api.operations import OPERATIONS
from registry.memo import Memo
from registry.serving.shared import Shared
from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from registry.store.port import Durability
from registry.usecases.discovery import POSITION_TIMEOUT_S
from tests.support.memory_replica import VIRTUAL, elapse
from tests.support.wires import Lane, fill, follow, status, two_lanes, whole

MADE_UP: Final = "made-up"
#: Bodies that are understood, by the end of the path; of others every member is left out.
BODIES: Final[dict[str, Any]] = {
    "microservices": {"service": {"serviceName": "cart", "appId": "shop", "serviceId": "cart"}},
    "instances": {"instance": {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}},
    "instances/status": {"matches": {"properties": {"a": "b"}}, "status": "UP"},
    "heartbeats": {"instances": [{"serviceId": "cart", "instanceId": "i"}]},
    "instances/action": {"services": [{"service": {"serviceName": "cart", "appId": "shop"}}]},
    "tags": {"tags": {"a": "b"}},
    "schemas": {"schemas": [{"schemaId": "a", "schema": "b", "summary": "c"}]},
    "properties": {"properties": {"a": "b"}},
    "dependencies": {"dependencies": [{"consumer": {"appId": "shop", "serviceName": "a", "version": "1"}}]},
    "{kind}": {"name": "a", "spec": {"maxAttempts": 1}},
    "{id}": {"name": "a", "spec": {"maxAttempts": 1}},
    "{schema_id}": {"schema": "a"},
}
DELETE_MANY: Final = {"serviceIds": ["cart"]}
QUERY: Final = "?appId=shop&serviceName=cart&version=1.0.0&type={type}&value=UP&options=all&serviceId=cart&schemaId=a"
#: Where the search ends: what is remembered of requests and bounded by bytes, what the store holds, what belongs to the
#: connections, and code.
ENDS: Final = (Memo, MemoryServer, Shared, asyncio.AbstractEventLoop, type, types.ModuleType)


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    return VIRTUAL


def requests(name: str) -> Iterator[bytes]:
    """Every operation of the API once for this tenant, as a consumer of it, with and without a durability."""
    rows = [(row.method, row.path) for row in OPERATIONS]
    old = [(row.method, row.path.replace("/v4/{project}/registry", "/registry/v3")) for row in OPERATIONS if row.in_v3]
    rows += old
    for method, template in rows:
        end = template.split("/registry/v3/")[-1].split("/registry/")[-1]
        body = BODIES.get(end) or BODIES.get(end.rpartition("/")[2], {})
        if method == "DELETE" and end == "microservices":
            body = DELETE_MANY
        path = template.format(
            project=name, service_id="cart", instance_id="i", key="a", schema_id="a", kind="retry", id="a"
        )
        kind = "query" if end == "instances/action" else "microservice"
        content = b"" if method == "GET" else json.dumps(body).encode()
        for headers in ("", "X-ConsumerId: cart", "X-Registry-Durability: disk", "X-Registry-Position: 7-7"):
            block = f"Host: h\r\nX-Domain-Name: {name}\r\nX-Tenant-Name: {name}\r\n{headers}".rstrip()
            yield whole(method.encode(), (path + QUERY.format(type=kind)).encode(), block.encode(), content)


def holders(root: object, text: str) -> list[str]:
    """Where below this object the text stands."""
    found: list[str] = []
    seen: set[int] = set()
    left: list[tuple[object, str]] = [(root, type(root).__name__)]
    while left:
        value, path = left.pop()
        if id(value) in seen or isinstance(value, ENDS):
            continue
        seen.add(id(value))
        if isinstance(value, (str, bytes)):
            if text in (value if isinstance(value, str) else value.decode("latin-1")):
                found.append(path)
            continue
        inner: list[Any] = (
            [*(value.__closure__ or ())] if isinstance(value, types.FunctionType) else gc.get_referents(value)
        )
        left += [(one, f"{path}>{type(one).__name__}") for one in inner]
    return found


async def ask_everything(lane: Lane, name: str) -> list[int]:
    """The statuses of all answers but those that never come."""
    statuses = []
    for request in requests(name):
        await follow(lane)  # so that the store does not count as silent
        wire = lane.connect()
        answer = await lane.say(wire, request)
        if not answer:  # it waits for a position that never comes, or for events
            await elapse(WAIT_MAX_S if b"/events?" in request else POSITION_TIMEOUT_S)
            await lane.settle(wire)
            answer = wire.sent
            assert b'"500011"' in answer or b'{"events":[],' in answer, request
        else:
            statuses.append(status(answer))
        wire.drop(None)
    await lane.settle()
    return statuses


@pytest.mark.parametrize("chosen", ["fast", "plain"])
async def test_made_up_tenants_leave_nothing_behind(chosen: str) -> None:
    """Whatever is asked or written, in every way in, with whatever header: refused or answered, and forgotten."""
    fast, plain = await two_lanes(Settings(quota_tenant=1))
    lane = fast if chosen == "fast" else plain
    durabilities: set[Durability] = {"memory", "disk"}
    lane.server.durabilities = durabilities
    await fill(lane)
    await follow(lane)
    await lane.replica.pulses.pulse()
    for number in range(3):
        statuses = await ask_everything(lane, f"{MADE_UP}-{number}")
        assert 200 in statuses
        assert not [code for code in statuses if code >= 500 and code != 503], "refused, and not failed"
    assert [str(tenant) for tenant in lane.server.tenants] == ["default/default"]
    assert holders(lane, MADE_UP) == []


async def test_what_is_left_behind_is_found() -> None:
    """The search above sees what stands in a dictionary deep in a use case."""
    lane, _ = await two_lanes()
    lane.replica.api.durable._checked[(MADE_UP, "default"), "disk"] = 1  # type: ignore[index]
    assert len(holders(lane, MADE_UP)) == 1
