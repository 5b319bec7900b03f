"""Pulses: what is said of a silence is what decided that leases start anew."""

from __future__ import annotations

import re
from typing import Any

import pytest

from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import InstanceRow
from registry.store.memory_server import MemoryServer
from registry.upkeep.pulses import Pulses
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, elapse, restamped, virtual_ms

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.mark.parametrize(
    ("jump_ms", "said"),
    [
        (20_000, r"no replica could write for (20\d{3}) ms: 1 leases of 1 tenants start anew"),
        (-20_000, r"the store's clock went back by (19\d{3}) ms: 1 leases of 1 tenants start anew"),
    ],
)
async def test_a_jump_of_the_stores_clock_is_told_as_what_it_is(
    jump_ms: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Forward it cannot be told from a silence; backward it is none."""
    jumped_ms = 0
    server = MemoryServer(lambda: virtual_ms() + jumped_ms)
    one = MemoryReplica(server, "a")
    events: list[Event] = [service_registered(microservice("cart")), instance_registered(instance("cart", "i"))]
    await append(server, *restamped(events, "w", virtual_ms()))
    await one.follow()
    await one.pulses.pulse()
    await elapse(0.1)
    jumped_ms = jump_ms
    await one.pulses.pulse()
    (line,) = [record.getMessage() for record in caplog.records if "start anew" in record.getMessage()]
    assert re.fullmatch(said, line)


async def test_a_refused_rearming_is_refused_before_the_instances_are_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that takes no writes refuses it twice a second, and a million rows take a second of the event loop."""
    server = MemoryServer(virtual_ms)
    one = MemoryReplica(server, "a")
    await append(server, *restamped([service_registered(microservice("cart"))], "w", virtual_ms()))
    await one.follow()
    await one.pulses.pulse()
    looked: list[Tenant] = []

    def rows(_: Pulses, tenant: Tenant, longest_ms: float) -> list[InstanceRow]:
        looked.append(tenant)
        return []

    async def refuse(name: str) -> None:
        if name == "rearm":
            raise StoreUnavailable("Redis refused: its memory is full")

    monkeypatch.setattr(Pulses, "_rows", rows)
    one.store.before = refuse
    await elapse(20)
    await one.pulses.pulse()
    assert "rearm" in one.store.calls
    assert looked == []
    one.store.come_back()
    await one.pulses.pulse()
    assert looked == [DEFAULT_TENANT]
