"""A replica that is behind: what it may say from its own view, and what it may not."""

from __future__ import annotations

import pytest

from registry.clock import Clock
from registry.domain.position import Position
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import InstanceBody, MicroserviceBody
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from registry.projection.projector import Projector
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.microservices import Microservices
from registry.usecases.writes import Writes
from tests.support.clock import ManualClock

T = DEFAULT_TENANT

pytestmark = pytest.mark.anyio


class Lane:
    """One replica without its reading loop: it learns of others' events only by catching up."""

    def __init__(self, server: MemoryServer, name: str, quotas: Quotas | None = None) -> None:
        self.server = server
        store = MemoryStore(server)
        self.projector = Projector(store, name)
        writes = Writes(store, self.projector, Clock(), quotas)
        self.instances = Instances(writes, Heartbeats(store, self.projector), lambda: f"new-{name}")
        self.services = Microservices(writes)

    @property
    def view(self) -> RegistryView:
        return self.projector.view(T)


@pytest.fixture
async def lanes() -> tuple[Lane, Lane]:
    server = MemoryServer(ManualClock())
    a, b = Lane(server, "a"), Lane(server, "b")
    await a.services.register(T, MicroserviceBody(service_name="cart", service_id="cart"), "t")
    await a.instances.register(T, "cart", InstanceBody(host_name="h", instance_id="i"), "t")
    await b.projector.catch_up(T)
    return a, b


async def test_status_that_was_changed_elsewhere_is_set_back(lanes: tuple[Lane, Lane]) -> None:
    """B still holds UP when UP is asked for: answering "nothing to do" would lose the write."""
    a, b = lanes
    await a.instances.set_status(T, "cart", "i", "DOWN", "t")
    await b.instances.set_status(T, "cart", "i", "UP", "t")
    await a.projector.catch_up(T)
    row = a.view.instance("cart", "i")
    assert row is not None
    assert b'"status":"UP"' in row.body


async def test_content_that_was_overwritten_elsewhere_is_registered_again(lanes: tuple[Lane, Lane]) -> None:
    a, b = lanes
    await a.instances.register(T, "cart", InstanceBody(host_name="other", instance_id="i"), "t")
    await b.instances.register(T, "cart", InstanceBody(host_name="h", instance_id="i"), "t")
    await a.projector.catch_up(T)
    row = a.view.instance("cart", "i")
    assert row is not None
    assert b'"hostName":"h"' in row.body


async def test_service_that_was_deleted_elsewhere_is_registered_again(lanes: tuple[Lane, Lane]) -> None:
    a, b = lanes
    await a.services.unregister(T, "cart", True, "t")
    await b.services.register(T, MicroserviceBody(service_name="cart", service_id="cart"), "t")
    await a.projector.catch_up(T)
    assert "cart" in a.view.services


async def test_instance_that_is_there_already_is_not_refused_for_a_limit(lanes: tuple[Lane, Lane]) -> None:
    """It was registered elsewhere, where the limits are higher: a replica that has not read of it looks first."""
    a, _ = lanes
    narrow = Lane(a.server, "c", Quotas(instance_bytes=1))
    await narrow.projector.catch_up(T)
    body = InstanceBody(host_name="h", instance_id="another")
    await a.instances.register(T, "cart", body, "t")
    assert await narrow.instances.register(T, "cart", body, "t") == "another"


async def test_waiting_for_a_position_that_never_comes_leaves_nothing(lanes: tuple[Lane, Lane]) -> None:
    """Else a header that any client can send grows the replica."""
    a, _ = lanes
    assert not await a.projector.wait_for(T, Position(a.view.position.epoch, 10**6), 0.001)
    assert a.projector._waiters._waiters == {}
