"""Heartbeats that wait for the store are bounded by bytes, over all tenants; none is refused for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.domain.tenant import Tenant
from registry.store.memory_server import MemoryServer
from registry.usecases.grouping import Budget
from registry.usecases.heartbeats import BEAT_BYTES, Heartbeats
from tests.support.builders import instance_body, microservice_body
from tests.support.memory_replica import VIRTUAL, MemoryReplica, elapse, virtual_ms
from tests.support.wires import BEAT, Lane, fill, status, whole

pytestmark = pytest.mark.anyio

ROOM = 5
TENANTS = [Tenant(f"t{number}", "p") for number in range(4)]
INSTANCES = [f"i{number}" for number in range(10)]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def test_heartbeats_that_wait_are_bounded_over_all_tenants_and_all_count() -> None:
    """The store hangs: what there is no room for is remembered at once, one for each instance, and delivered later."""
    one = MemoryReplica(MemoryServer(virtual_ms), "one")
    await one.follow()
    services = [await one.services.register(tenant, microservice_body("s"), "client") for tenant in TENANTS]
    for tenant, service_id in zip(TENANTS, services, strict=True):
        for name in INSTANCES:
            body = instance_body(instance_id=name, endpoints=[f"rest://{name}:1"])
            await one.instances.register(tenant, service_id, body, "client")
    heartbeats = Heartbeats(one.store, one.projector, ROOM * BEAT_BYTES)
    one.store.hang()
    beats = [
        asyncio.create_task(heartbeats.beat(tenant, service_id, name))
        for _ in range(3)
        for tenant, service_id in zip(TENANTS, services, strict=True)
        for name in INSTANCES
    ]
    await asyncio.sleep(0)
    assert heartbeats.gathering == ROOM
    await elapse(1)
    assert all(beat.done() and beat.exception() is None for beat in beats)
    assert heartbeats.waiting == len(TENANTS) * len(INSTANCES)
    one.store.come_back()
    await heartbeats.deliver()
    assert (heartbeats.waiting, heartbeats.stats.delivered) == (0, len(TENANTS) * len(INSTANCES))
    for _ in range(3):  # there is room again
        await asyncio.gather(*(heartbeats.beat(TENANTS[0], services[0], name) for name in INSTANCES[:ROOM]))
    assert heartbeats.stats.renewed == 3 * ROOM


async def test_a_heartbeat_for_which_there_is_no_room_is_answered_by_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane(MemoryServer(virtual_ms), True)
    await lane.replica.projector.start()
    await fill(lane)
    monkeypatch.setattr(lane.replica.api.heartbeats, "_budget", Budget(0))
    wire, before = lane.connect(), lane.hot.recognised
    for turn in (1, 2):
        assert status(await lane.say(wire, whole(b"PUT", BEAT))) == 200
        assert lane.hot.recognised == before + turn
    assert lane.replica.api.heartbeats.waiting == 1
