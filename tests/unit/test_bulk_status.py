"""One request that changes the status of very many instances, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.domain.events import Event
from registry.domain.model import Instance, decode_instance
from registry.domain.tenant import DEFAULT_TENANT
from registry.store.memory_server import MemoryServer
from registry.usecases import instances
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, restamped, virtual_ms

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.mark.parametrize(("properties", "changed"), [({}, 1000), ({"no": "one"}, 0)])
async def test_others_have_their_turns_while_very_many_change(
    properties: dict[str, str], changed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while nobody matches: to look at 50,000 instances, and to begin with 500 of them, took 89 ms in one go."""
    server = MemoryServer(virtual_ms)
    one = MemoryReplica(server, "a")
    events: list[Event] = [instance_registered(instance("cart", f"i{n}"), chosen=True) for n in range(1000)]
    service = service_registered(microservice("cart"), chosen=True)
    await append(server, *restamped([service, *events], "w", virtual_ms()))
    await one.follow()
    looked_at = 0

    def counted(body: bytes) -> Instance:
        nonlocal looked_at
        looked_at += 1
        return decode_instance(body)

    monkeypatch.setattr(instances, "decode_instance", counted)
    changing = asyncio.create_task(one.instances.set_statuses(DEFAULT_TENANT, properties, "DOWN", "me"))
    before, most = 0, 0
    while not changing.done():
        await asyncio.sleep(0)
        most, before = max(most, looked_at - before), looked_at
    assert changing.result() == changed
    assert (looked_at, most) == (1000, instances.STATUSES_AT_ONCE)
    rows = one.view.services["cart"].instances.values()
    assert [decode_instance(row.body).status for row in rows].count("DOWN") == changed
