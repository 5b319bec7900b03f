"""A log that lost its tail and went on is noticed by its first reader, not only by the reader after its break."""

from __future__ import annotations

from typing import Any

import pytest

from registry.domain.tenant import DEFAULT_TENANT
from registry.store.memory_server import MemoryServer
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, cut, digests, restamped, virtual_ms

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def test_catching_up_proves_the_own_position() -> None:
    """A consumer's find catches up on a connection of its own, which may reach the new master before the reader's
    breaks (found by scripts/chaos --faults split)."""
    server = MemoryServer(virtual_ms)
    common = service_registered(microservice("cart")), instance_registered(instance("cart", "i1"))
    await append(server, *restamped(common, "r1", virtual_ms()))
    late, other = MemoryReplica(server, "late"), MemoryReplica(server, "other")
    await late.follow()
    await other.follow()
    lost = instance_registered(instance("cart", "lost"))
    await append(server, *restamped((lost,), "late", virtual_ms()))
    await late.follow()
    await cut(server, 2)
    since = (instance_registered(instance("cart", name)) for name in ("i2", "i3"))
    await append(server, *restamped(since, "other", virtual_ms()))

    await late.projector.catch_up(DEFAULT_TENANT)
    await other.look()
    await late.after_a_break()
    await other.look()
    assert digests(late.view) == digests(other.view)


async def test_a_replica_proves_its_newest_events_when_the_store_is_another_process() -> None:
    """Its connections may all have been opened anew without an error: the pulse tells."""
    server = MemoryServer(virtual_ms)
    common = service_registered(microservice("cart")), instance_registered(instance("cart", "i1"))
    await append(server, *restamped(common, "r1", virtual_ms()))
    late, other = MemoryReplica(server, "late"), MemoryReplica(server, "other")
    await other.follow()
    await append(server, *restamped((instance_registered(instance("cart", "lost")),), "late", virtual_ms()))
    await late.follow()
    await late.pulses.pulse()
    await cut(server, 2)
    since = [instance_registered(instance("cart", name)) for name in ("i2", "i3")]
    await append(server, *restamped(since, "other", virtual_ms()))
    await late.follow()
    assert "i2" not in late.view.services["cart"].instances, "it has read what came after another event than its own"

    server.run += 1
    await late.pulses.pulse()
    await other.follow()
    assert sorted(late.view.services["cart"].instances) == ["i1", "i2", "i3", "lost"]
    assert digests(late.view) == digests(other.view)
