"""Pulses: what is said of a silence is what decided that leases start anew."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from registry.domain.events import Event
from registry.store.memory_store import MemoryServer
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, restamped, virtual_ms

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
    await asyncio.sleep(0.1)
    jumped_ms = jump_ms
    await one.pulses.pulse()
    (line,) = [record.getMessage() for record in caplog.records if "start anew" in record.getMessage()]
    assert re.fullmatch(said, line)
