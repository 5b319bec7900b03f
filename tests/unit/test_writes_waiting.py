"""Writes that wait for the store are bounded in bytes, over all tenants, and what was given up gives its room back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.domain.errors import RegistryError, StoreUnavailable
from registry.domain.tenant import Tenant
from registry.store.memory_server import MemoryServer
from tests.support.builders import microservice_body
from tests.support.memory_replica import VIRTUAL, MemoryReplica, elapse, virtual_ms

pytestmark = pytest.mark.anyio

#: Bytes of one write's properties, and the number of them for which there is room.
SIZE = 1000
ROOM = 20


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def register(one: MemoryReplica, tenant: Tenant, number: int) -> RegistryError | None:
    body = microservice_body(f"s{number}", properties={"filler": "x" * SIZE})
    try:
        await one.services.register(tenant, body, "client")
    except RegistryError as error:
        return error
    return None


async def test_what_waits_for_a_store_that_hangs_is_bounded() -> None:
    """No matter who sends it: a thousand clients of as many tenants fill no more than one."""
    one = MemoryReplica(MemoryServer(virtual_ms), "one", waiting_max_bytes=ROOM * (SIZE + 500))
    await one.follow()
    tenants = [Tenant(f"t{number}", "p") for number in range(10)]
    for tenant in tenants:
        assert await register(one, tenant, 0) is None
    one.store.hang()
    asked = [asyncio.create_task(register(one, tenants[n % 10], n)) for n in range(1, 5 * ROOM)]
    await elapse(0.1)
    refused = [error.detail for task in asked if task.done() and (error := task.result()) is not None]
    assert 4 * ROOM - ROOM // 2 <= len(refused) <= 4 * ROOM
    assert all("waiting for the store already" in detail for detail in refused)
    await asyncio.wait(asked)
    assert all(isinstance(task.result(), StoreUnavailable) for task in asked)


async def test_room_is_given_back() -> None:
    """By what was appended, and by what failed."""
    one = MemoryReplica(MemoryServer(virtual_ms), "one", waiting_max_bytes=2 * (SIZE + 500))
    tenant = Tenant("t", "p")
    await one.follow()
    for number in range(20):
        assert await register(one, tenant, number) is None
        one.store.go_away()
        assert isinstance(await register(one, tenant, 100 + number), StoreUnavailable)
        one.store.come_back()
