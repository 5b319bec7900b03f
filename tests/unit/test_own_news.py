"""The reader while its own replica writes: it is not sent what it knows, and does not leave others' news lying."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from registry.domain.position import Position
from registry.domain.request_bodies import InstanceBody, MicroserviceBody
from registry.domain.tenant import DEFAULT_TENANT as T
from registry.projection.reading import OWN_NEWS_PAUSE_MAX_S
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import VIRTUAL, MemoryReplica, elapse, virtual_ms

pytestmark = pytest.mark.anyio

#: Seconds between two writes, shorter than the reader's longest pause.
STEP_S = 0.001


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL


class Running:
    """Two replicas that read all the time, with one service."""

    def __init__(self) -> None:
        server = MemoryServer(virtual_ms)
        self.writer, self.other = MemoryReplica(server, "writer"), MemoryReplica(server, "other")
        self.written = 0

    async def write(self, by: MemoryReplica) -> None:
        self.written += 1
        await by.instances.register(T, "cart", InstanceBody(host_name="h", instance_id=f"i{self.written}"), "t")

    async def write_on(self, steps: int) -> None:
        for _ in range(steps):
            await self.write(self.writer)
            await elapse(STEP_S)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    loops = [asyncio.create_task(replica.projector.reading.run()) for replica in (running.writer, running.other)]
    await running.writer.services.register(T, MicroserviceBody(service_name="cart", service_id="cart"), "t")
    yield running
    for loop in loops:
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop


async def test_own_writes_are_not_sent_back_one_by_one(running: Running) -> None:
    """Each of them costs as much to be sent, read and passed over as it cost to be appended."""
    brought = reads = 0
    read = running.writer.store.read

    async def counted(*args: object, **named: object) -> object:
        nonlocal brought, reads
        tail = await read(*args, **named)  # type: ignore[arg-type]
        brought += sum(map(len, tail.events.values()))
        reads += 1
        return tail

    await running.write_on(5)
    await running.write(running.other)
    await running.write_on(5)  # the first of them was overtaken
    running.writer.store.read = counted  # type: ignore[method-assign, assignment]
    await running.write_on(400)
    assert brought <= 10
    assert reads <= 400 * STEP_S / OWN_NEWS_PAUSE_MAX_S + 10


async def test_write_of_another_before_an_own_one_is_read_at_once(running: Running) -> None:
    """The own write's place in the log tells that something stands before it, and its client waits for that."""
    await running.write_on(50)
    for _ in range(10):  # at different moments of the pause
        await running.write_on(1)
        await running.write(running.other)
        began_ms = virtual_ms()
        await running.write(running.writer)
        assert virtual_ms() - began_ms <= 1


async def test_write_of_another_that_comes_during_a_read_is_read_at_once(running: Running) -> None:
    """The read has not seen it, and its answer is on the way while the own write tells of it."""
    store, took_ms = running.writer.store, list[int]()
    read = store.read

    async def own() -> None:
        began_ms = virtual_ms()
        await running.write(running.writer)
        took_ms.append(virtual_ms() - began_ms)

    async def slow(*args: object, **named: object) -> object:
        store.read = read  # type: ignore[method-assign]
        tail = await read(*args, **named)  # type: ignore[arg-type]
        await running.write(running.other)
        writings.append(asyncio.create_task(own()))
        await elapse(STEP_S / 2)
        return tail

    writings: list[asyncio.Task[None]] = []
    await running.write_on(50)
    store.read = slow  # type: ignore[method-assign, assignment]
    both = Position(running.writer.view.position.epoch, running.writer.view.position.sequence + 2)
    assert await running.writer.projector.wait_for(T, both, 1)
    await asyncio.gather(*writings)
    assert took_ms
    assert max(took_ms) <= 1


async def test_write_of_another_is_read_after_the_pause_at_the_latest(running: Running) -> None:
    await running.write_on(50)
    await running.write(running.other)
    position = running.other.view.position
    assert await running.writer.projector.wait_for(T, position, OWN_NEWS_PAUSE_MAX_S + STEP_S)


async def test_news_are_waited_for_when_nothing_is_written(running: Running) -> None:
    """Blocked in the store, not asking it again and again."""
    await running.write_on(50)
    await elapse(1)
    running.writer.store.calls.clear()
    await elapse(10)
    assert running.writer.store.calls.count("read") <= 11
    await running.write(running.other)
    assert await running.writer.projector.wait_for(T, running.other.view.position, STEP_S)
