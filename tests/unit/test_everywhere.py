"""A change of accounts counts everywhere before it is answered, or it is said where it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.domain.access_events import RoleCreated
from registry.domain.emptiness import is_empty
from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import ACCOUNTS
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.usecases.everywhere import ALIVE_MS, ASLEEP_MS, WAIT_MAX_S, Everywhere, applied
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, virtual_ms


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


class Two:
    """Two replicas that have heard of each other."""

    def __init__(self) -> None:
        self.server = MemoryServer(virtual_ms)
        self.one, self.two = (MemoryReplica(self.server, name) for name in ("one", "two"))
        self.first, self.second = (
            Everywhere(replica.store, replica.projector, replica.clock, f"{replica.name}:1")
            for replica in (self.one, self.two)
        )
        self._number = 0

    async def open(self) -> Two:
        await self.change()
        for _ in range(2):
            for replica, everywhere in ((self.one, self.first), (self.two, self.second)):
                await replica.follow()
                await everywhere.announce()
        return self

    async def second_alive_but_behind(self) -> None:
        """The second replica announces itself, and reads nothing."""
        self.two.store.before = _only("exchange")
        await self.second.announce()
        self.two.store.come_back()
        await asyncio.sleep(0.05)

    async def change(self) -> Position:
        """A change that the first replica has applied."""
        self._number += 1
        stamp: dict[str, Any] = {"at_ms": virtual_ms(), "replica": "r", "number": self._number}
        await append(self.server, RoleCreated(name=f"r{self._number}", id="", perms=[], **stamp), tenant=ACCOUNTS)
        await self.one.follow()
        return self.one.projector.view(ACCOUNTS).position


async def test_a_change_waits_for_every_replica_that_lives() -> None:
    both = await Two().open()
    position = await both.change()
    began = virtual_ms()
    waiting = asyncio.create_task(both.first.applied(position))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await both.two.follow()
    await both.second.announce()
    assert await waiting == []
    assert 500 <= virtual_ms() - began < 700


async def test_who_is_no_replica_waits_for_all_as_well_and_is_waited_for_by_none() -> None:
    """`registry accounts`: it hears the replicas, and counts as none."""
    both = await Two().open()
    position = await both.change()
    await both.first.announce()
    waiting = asyncio.create_task(applied(both.one.store, "cli", position))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await both.two.follow()
    await both.second.announce()
    assert await waiting == []
    assert await applied(both.one.store, "cli", position.next()) == ["one one:1", "two two:1"]
    assert await applied(MemoryStore(MemoryServer(virtual_ms)), "cli", position) == [], "there are no replicas"
    began = virtual_ms()
    assert await both.second.applied(position) == []
    assert virtual_ms() == began


async def test_who_does_not_keep_up_is_named_and_an_alarm() -> None:
    both = await Two().open()
    began = virtual_ms()
    late = asyncio.create_task(both.first.applied(await both.change()))
    while not late.done():
        await both.second_alive_but_behind()
    assert await late == ["two two:1"]
    assert virtual_ms() - began <= WAIT_MAX_S * 1000 + 100
    await asyncio.sleep(0.2)
    await both.second_alive_but_behind()
    await both.first.announce()
    assert both.first.late() == ["two two:1"]
    await both.two.follow()
    await both.second.announce()
    await both.first.announce()
    assert both.first.late() == []


def test_one_that_a_change_did_not_wait_for_knows_that_it_has_slept() -> None:
    """Else it would answer from the past for a moment, after it was said where that may be."""
    assert ASLEEP_MS < WAIT_MAX_S * 1000


async def test_a_store_that_takes_its_time_makes_nobody_wait() -> None:
    """The replica runs and asks; that it is not told is no sleep."""
    both = await Two().open()
    await both.first.make_sure()
    both.one.store.hang()
    running = asyncio.create_task(both.first.run())
    for _ in range(200):
        await asyncio.sleep(0.05)
        began = virtual_ms()
        await both.first.make_sure()
        assert virtual_ms() == began
    running.cancel()


async def test_a_replica_that_has_died_is_waited_for_no_more() -> None:
    both = await Two().open()
    await both.first.announce()
    await asyncio.sleep(ALIVE_MS / 1000 + 0.1)
    began = virtual_ms()
    assert await both.first.applied(await both.change()) == []
    assert virtual_ms() - began < 100


async def test_a_replica_that_hears_of_more_than_it_can_read_refuses_tokens() -> None:
    both = await Two().open()
    await both.change()
    await both.first.announce()
    both.two.store.before = _only("exchange")
    await both.second.announce()
    assert both.second.behind
    with pytest.raises(StoreUnavailable):
        await both.second.make_sure()
    both.two.store.come_back()
    await both.second.announce()
    assert not both.second.behind
    await both.second.make_sure()


async def test_a_replica_that_hears_of_more_reads_it_at_once() -> None:
    both = await Two().open()
    position = await both.change()
    await both.first.announce()
    await both.second.announce()
    assert both.two.projector.view(ACCOUNTS).position == position


async def test_the_log_of_the_accounts_is_not_empty() -> None:
    """Empty tenants are forgotten after a day; it holds no microservices."""
    both = await Two().open()
    assert not is_empty(both.one.projector.view(ACCOUNTS))


def _only(call: str) -> Any:
    async def before(name: str) -> None:
        if name != call:
            raise StoreUnavailable(f"{name} was lost on its way")

    return before
