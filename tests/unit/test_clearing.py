"""Clearing: a forgotten tenant's log goes in time, who comes back loses nothing, and the list stays short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from registry.domain.position import ORIGIN
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.memory_data import Struck
from registry.store.memory_server import MemoryServer
from registry.upkeep.clearing import KEPT_LEAST_MS, Clearing
from tests.support.builders import instance_body, microservice_body
from tests.support.memory_replica import (
    FORGET_AFTER_MS,
    HISTORY_MS,
    VIRTUAL,
    MemoryReplica,
    digests,
    virtual_ms,
)
from tests.unit.test_forgetting import come, go

pytestmark = pytest.mark.anyio

T = Tenant("once", "there")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def forgotten(server: MemoryServer, *names: str, for_s: float = HISTORY_MS / 1000) -> list[MemoryReplica]:
    """Replicas that have followed a tenant which came, went, was forgotten, and has been off the list for that long."""
    await come(server, T)
    await go(server, T)
    await come(server, DEFAULT_TENANT)
    replicas = [MemoryReplica(server, name) for name in names]
    for one in replicas:
        await one.follow()
    await asyncio.sleep(FORGET_AFTER_MS / 1000)
    await replicas[0].forgetting.look()
    for one in replicas:
        await one.follow()
        assert not one.projector.knows(T)
    await asyncio.sleep(for_s)
    return replicas


def entries(server: MemoryServer) -> int:
    return sum(1 for entry in server.tenants if not isinstance(entry, Struck))


async def test_the_log_of_a_forgotten_tenant_goes_when_history_has_passed(server: MemoryServer) -> None:
    """Not a moment before. All that was there goes, and the list keeps no word of it; the others keep all."""
    (a,) = await forgotten(server, "a", for_s=HISTORY_MS / 1000 - 1)
    await a.clearing.look()
    assert len(server.of(T).events) == 3
    await asyncio.sleep(1)
    await a.clearing.look()
    assert T not in server.data
    assert (a.clearing.cleared, entries(server)) == (1, 1)
    assert len(server.of(DEFAULT_TENANT).events) == 2
    late = MemoryReplica(server, "late")
    await late.follow()
    assert late.projector.tenants == [DEFAULT_TENANT]


async def test_where_no_history_is_kept_replicas_have_an_hour_to_hear_of_it(server: MemoryServer) -> None:
    (a,) = await forgotten(server, "a", for_s=KEPT_LEAST_MS / 1000 - 1)
    clearing = Clearing(a.store, a.projector, 0)
    await clearing.look()
    assert T in server.data
    await asyncio.sleep(1)
    await clearing.look()
    assert T not in server.data


async def test_two_that_look_at_the_same_time_do_each_other_no_harm(server: MemoryServer) -> None:
    a, b = await forgotten(server, "a", "b")
    await asyncio.gather(a.clearing.look(), b.clearing.look())
    assert T not in server.data
    assert entries(server) == 1


async def test_one_that_comes_back_afterwards_begins_anew(server: MemoryServer) -> None:
    """Positions go on rising, so that nobody who waits for one waits in vain."""
    a, b = await forgotten(server, "a", "b")
    before = server.of(T).head
    await a.clearing.look()
    await register(b)
    await agree(server, a, b)
    assert b.projector.view(T).position > before


async def test_one_that_was_only_asked_for_is_kept(server: MemoryServer) -> None:
    a, b = await forgotten(server, "a", "b")
    await b.projector.catch_up(T)
    await a.clearing.look()
    assert len(server.of(T).events) == 3


async def test_one_that_was_written_to_unheard_is_put_on_the_list(server: MemoryServer) -> None:
    """The writer died before it could say so."""
    (a,) = await forgotten(server, "a")
    data = server.of(T)
    data.head = data.head.next()
    data.events.append((data.head, data.events[0][1]))
    await a.clearing.look()
    assert T in server.listed()
    assert len(data.events) == 4


def count_calls(replica: MemoryReplica) -> Callable[[], int]:
    began = len(replica.store.calls)
    return lambda: len(replica.store.calls) - began


def at_call(replica: MemoryReplica, number: int, work: Callable[[], Awaitable[object]]) -> None:
    """Do something before the replica's call of that number from now on (0: the next)."""
    left = number

    async def count(name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            await work()

    replica.store.before = count


async def register(replica: MemoryReplica) -> None:
    service_id = await replica.services.register(T, microservice_body("order"), "client")
    await replica.instances.register(T, service_id, instance_body(), "client")


async def agree(server: MemoryServer, *replicas: MemoryReplica) -> None:
    """All replicas hold the one instance that has come back, a new one too; and it has its lease."""
    replicas = (*replicas, MemoryReplica(server, "new"))
    for _ in range(2):
        for one in replicas:
            await one.follow()
    for one in replicas:
        view = one.projector.view(T)
        assert [row.service.service_name for row in view.services.values()] == ["order"]
        assert view.instance_count == 1
        assert view.position == await one.store.head(T)
        assert digests(view) == digests(replicas[0].projector.view(T))
    assert T in server.listed()
    ((service_id, row),) = view.services.items()
    (instance_id,) = row.instances
    await replicas[0].heartbeats.beat(T, service_id, instance_id)


@pytest.mark.parametrize("number", range(5))
async def test_one_that_comes_back_during_a_look_loses_nothing(server: MemoryServer, number: int) -> None:
    """Before each call of a look, another replica takes a registration."""
    a, b = await forgotten(server, "a", "b")
    calls = count_calls(a)
    at_call(a, number, lambda: register(b))
    await a.clearing.look()
    a.store.come_back()
    assert calls() > number, "it was not there yet"
    await agree(server, a, b)


@pytest.mark.parametrize("number", range(5))
async def test_a_look_during_a_return_loses_nothing(server: MemoryServer, number: int) -> None:
    """Before each call of a registration, another replica clears what is left: also between its reading of the old log
    and its first write.
    """
    a, b = await forgotten(server, "a", "b")
    calls = count_calls(b)
    at_call(b, number, a.clearing.look)
    await register(b)
    b.store.come_back()
    assert calls() > number, "it was over already"
    await agree(server, a, b)


async def test_a_log_that_is_cleared_between_the_reading_and_the_first_write_loses_nothing(
    server: MemoryServer,
) -> None:
    """No order of calls leads there as long as the list is asked first; a store of two servers may answer so."""
    a, b = await forgotten(server, "a", "b")
    await b.projector.catch_up(T)
    del server.data[T]
    await register(b)
    await agree(server, a, b)


async def test_a_look_that_fails_at_any_call_is_made_up_for_by_the_next(server: MemoryServer) -> None:
    for number in range(5):
        for happens in (False, True):
            own = MemoryServer(virtual_ms)
            (a,) = await forgotten(own, "a")
            a.store.fail_call(number, happens)
            await a.clearing.look()
            a.store.come_back()
            await a.clearing.look()
            assert T not in own.data
            assert entries(own) == 1


async def test_the_list_does_not_grow_with_each_return(server: MemoryServer) -> None:
    """A tenant that is forgotten and comes back ten times; readers old and new know what there is."""
    (a,) = await forgotten(server, "a", for_s=1)
    old = MemoryReplica(server, "old")
    await old.follow()
    for _ in range(10):
        await a.projector.catch_up(T)
        await asyncio.sleep(FORGET_AFTER_MS / 1000)
        await a.forgetting.look()
        await asyncio.sleep(FORGET_AFTER_MS / 1000)
        await a.forgetting.look()
        await a.follow()
    assert entries(server) == 23
    await a.clearing.look()
    assert entries(server) == 2
    await a.projector.catch_up(T)
    await a.clearing.look()
    assert entries(server) == 2
    for one in (old, MemoryReplica(server, "new")):
        await one.follow()
        assert set(one.projector.tenants) == {DEFAULT_TENANT, T}


async def test_a_damaged_list_is_not_looked_at(server: MemoryServer) -> None:
    (a,) = await forgotten(server, "a")
    server.tenants.append(None)
    await a.clearing.look()
    assert T in server.data
    assert server.of(T).head != ORIGIN
