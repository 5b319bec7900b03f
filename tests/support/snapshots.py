"""Snapshots of a log in memory: short ways to let it grow, to take one, and to see what there is."""

from __future__ import annotations

from registry.domain.events import Event
from registry.domain.marks import Mark
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView
from registry.projection.restoring import restore
from registry.store.memory_server import MemoryServer
from registry.store.memory_snapshots import SnapshotData
from registry.store.memory_store import MemoryStore
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import FlakyStore, MemoryReplica, append, restamped

T = DEFAULT_TENANT
NOW = 1_700_000_000_000


async def come(server: MemoryServer, number: int, by: str = "w", tenant: Tenant = T) -> None:
    """A number of instances of one service; with the service, for the first call, one event more."""
    events: list[Event] = [instance_registered(instance("cart", f"{by}{n}"), chosen=True) for n in range(number)]
    if not server.of(tenant).events:
        events.insert(0, service_registered(microservice("cart"), chosen=True))
    await append(server, *restamped(events, by, NOW), tenant=tenant)


async def taken(server: MemoryServer, lane: MemoryReplica) -> Mark:
    """A snapshot of what the log holds now."""
    await lane.follow()
    mark = await lane.snapshotting.write(T, 1)
    assert mark is not None
    return mark


async def marks(server: MemoryServer) -> list[Mark]:
    return await MemoryStore(server).snapshots.marks(T)


def kept(server: MemoryServer) -> SnapshotData:
    return server.of(T).snapshots


async def restored(server: MemoryServer, before_ms: int | None = None) -> RegistryView:
    return (await restore(FlakyStore(server), T, "r", before_ms)).view
