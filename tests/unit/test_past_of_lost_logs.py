"""A log that has lost events, before these are put back: its past is not told from what is left of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from registry.bootstrap import Replica, build_replica
from registry.clock import Clock
from registry.domain.errors import ServiceNotExists, StoreUnavailable
from registry.domain.request_bodies import InstanceBody, MicroserviceBody
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.carried import call_of, carry
from registry.http_api.operations import OPERATIONS
from registry.http_api.reply import Reply
from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from tests.support.memory_replica import VIRTUAL, cut, elapse, virtual_ms

pytestmark = pytest.mark.anyio

FIND = next(operation for operation in OPERATIONS if operation.name == "find-instances")
EVENTS = next(operation for operation in OPERATIONS if operation.name == "list-events")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.fixture(params=[DEFAULT_TENANT, Tenant("team", "default")], ids=str)
def tenant(request: pytest.FixtureRequest) -> Tenant:
    assert isinstance(request.param, Tenant)
    return request.param


async def began(server: MemoryServer, tenant: Tenant) -> Replica:
    replica = build_replica(Settings(), MemoryStore(server), "", Clock(virtual_ms, virtual_ms), "a")
    await replica.projector.start()
    for of in {tenant, DEFAULT_TENANT}:
        body = MicroserviceBody(app_id="shop", service_name="cart", version="1.0.0", service_id="cart")
        await replica.api.microservices.register(of, body, "t")
        await replica.api.instances.register(of, "cart", InstanceBody(host_name="h", instance_id="i"), "t")
    await elapse(1)
    return replica


async def nothing() -> Any:
    raise AssertionError


async def ask(api: Api, tenant: Tenant, operation: Any = FIND, **query: str) -> Reply:
    asked = {"appId": "shop", "serviceName": "cart", "version": "0+", **query}
    call = Call({"project": tenant.project}, urlencode(asked).encode(), {}, "t", nothing, tenant)
    return await api.ask_past(operation, call)


@pytest.mark.parametrize("left", [0, 1])
async def test_what_a_log_has_lost_is_not_said_never_to_have_been(
    server: MemoryServer, tenant: Tenant, left: int
) -> None:
    """By a position that a client was given, and by a moment: it is our failure, and over when all is put back."""
    replica = await began(server, tenant)
    moment, place = str(virtual_ms() - 1), replica.projector.view(tenant).position.text()
    before = (await ask(replica.api, tenant, asOf=moment)).body
    assert b'"instanceId":"i"' in before
    await cut(server, left, tenant)
    for query in ({"asOf": moment}, {"asOf": place}):
        with pytest.raises(StoreUnavailable, match="not put back yet") as refused:
            await ask(replica.api, tenant, **query)
        assert refused.value.code == 500011
    with pytest.raises(StoreUnavailable, match="not put back yet"):
        await ask(replica.api, tenant, EVENTS)
    await replica.projector.proving.check(tenant, server.of(tenant).head)
    await replica.projector.start()
    await elapse(1)
    assert b'"instanceId":"i"' in (await ask(replica.api, tenant, asOf=str(virtual_ms() - 1))).body


async def test_what_everybody_finds_is_not_left_out_while_the_default_tenants_log_is_lost(server: MemoryServer) -> None:
    other = Tenant("team", "default")
    replica = await began(server, other)
    moment = str(virtual_ms() - 1)
    await cut(server, 0, DEFAULT_TENANT)
    with pytest.raises(StoreUnavailable, match="default/default"):
        await ask(replica.api, other, asOf=moment)


async def test_a_tenant_that_nobody_wrote_to_has_an_empty_past(server: MemoryServer) -> None:
    replica = await began(server, DEFAULT_TENANT)
    with pytest.raises(ServiceNotExists):
        await ask(replica.api, Tenant("nobody", "default"), asOf=str(virtual_ms() - 1))


async def test_the_process_that_reads_the_past_is_told_how_far_the_replica_is(server: MemoryServer) -> None:
    replica = await began(server, DEFAULT_TENANT)
    call = Call({}, b"", {}, "t", nothing, DEFAULT_TENANT)
    position = replica.projector.view(DEFAULT_TENANT).position
    call.applied = (position, position)
    assert call_of(await carry(FIND.name, call, has_body=False)).applied == (position, position)
