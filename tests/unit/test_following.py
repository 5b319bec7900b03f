"""Many tenants in virtual time: few logs are read all the time, and no news of the others is missed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.projection import following, proving
from registry.store.memory_server import MemoryServer
from registry.store.port import Tail
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, elapse, empty, restamped
from tests.support.memory_replica import virtual_ms as now_ms

TENANTS = [Tenant(f"t{number:03}", "default") for number in range(100)]
FOLLOWED_MAX = 4
#: Seconds within which news of a log must be heard, however it is listened to.
SOON_S = 0.5

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer(now_ms)


async def come(server: MemoryServer, tenant: Tenant, name: str) -> None:
    events = [instance_registered(instance("cart", name), chosen=True)]
    if not server.of(tenant).events:
        await append(
            server, *restamped([service_registered(microservice("cart"), chosen=True)], "w", now_ms()), tenant=tenant
        )
    await append(server, *restamped(events, f"w{len(server.of(tenant).events)}", now_ms()), tenant=tenant)


@contextlib.asynccontextmanager
async def running(server: MemoryServer) -> AsyncIterator[MemoryReplica]:
    """A replica that follows the logs of all `TENANTS`, each with one instance."""
    for tenant in TENANTS:
        await come(server, tenant, "first")
    one = MemoryReplica(server, "one", followed_max=FOLLOWED_MAX)
    await one.follow()
    tasks = [asyncio.create_task(one.projector.reading.run()), asyncio.create_task(one.projector.following.run())]
    await asyncio.sleep(0)
    yield one
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def there(one: MemoryReplica, tenant: Tenant) -> set[str]:
    return set(one.projector.view(tenant).services["cart"].instances)


async def test_a_start_reads_every_log_to_its_end(server: MemoryServer) -> None:
    """Also those that are not read all the time afterwards."""
    async with running(server) as one:
        assert all(there(one, tenant) == {"first"} for tenant in TENANTS)
        assert len(one.projector.following.lively()) <= FOLLOWED_MAX


async def test_news_of_every_log_are_heard_soon(server: MemoryServer) -> None:
    """Of those with the last news, and of those that have been quiet for long, one after the other and all at once."""
    async with running(server) as one:
        for number, tenant in enumerate(TENANTS[::7]):
            await come(server, tenant, f"second-{number}")
            await elapse(SOON_S)
            assert there(one, tenant) == {"first", f"second-{number}"}
            assert len(one.projector.following.lively()) <= FOLLOWED_MAX
        for tenant in TENANTS:
            await come(server, tenant, "third")
        await elapse(SOON_S)
        assert all("third" in there(one, tenant) for tenant in TENANTS)


async def test_idle_tenants_cost_few_reads(server: MemoryServer) -> None:
    """However many they are: a read for each would be a hundred a second."""
    async with running(server) as one:
        read: list[int] = []
        ask = one.store.read

        async def counted(after: dict[Tenant, Position], *rest: Any, **named: Any) -> Tail:
            read.append(len(after))
            return await ask(after, *rest, **named)

        one.store.read = counted  # type: ignore[method-assign, assignment]
        await elapse(60)
        assert sum(read) < 60 * FOLLOWED_MAX + 2 * len(TENANTS) * 60_000 / following.QUIET_BLOCK_MS


async def test_a_store_that_was_away_is_heard_again(server: MemoryServer) -> None:
    """The groups of quiet logs are read again, and what they lost meanwhile is found."""
    async with running(server) as one:
        one.store.go_away()
        await elapse(2 * following.QUIET_BLOCK_MS / 1000)
        one.store.come_back()
        await elapse(2 * following.RETRY_S)
        await come(server, TENANTS[0], "second")
        await elapse(SOON_S)
        assert there(one, TENANTS[0]) == {"first", "second"}


async def test_an_event_that_cannot_be_read_sets_only_its_tenant_aside(server: MemoryServer) -> None:
    """Also one of a quiet log: the others of its group are heard all the same."""
    for tenant in TENANTS:
        await come(server, tenant, "first")
    async with running(server) as one:
        data = server.of(TENANTS[0])
        data.head = data.head.next()
        data.events.append((data.head, b"no event"))
        server.wake()
        await elapse(SOON_S)
        assert list(one.projector.aside.tenants) == [TENANTS[0]]
        await come(server, TENANTS[1], "second")
        await elapse(SOON_S)
        assert there(one, TENANTS[1]) == {"first", "second"}
        assert there(one, TENANTS[0]) == {"first"}


async def test_looking_finds_news_that_nobody_told_of(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that swallows everything must not keep a quiet log unread: some heads at a time are compared."""
    monkeypatch.setattr(proving, "HEADS_AT_ONCE", 10)
    for tenant in TENANTS:
        await come(server, tenant, "first")
    one = MemoryReplica(server, "one", followed_max=FOLLOWED_MAX)
    await one.follow()
    await come(server, TENANTS[3], "second")
    for _ in range(len(TENANTS) // 10):
        await one.projector.proving.look()
    assert TENANTS[3] in one.projector.following.lively()
    await one.follow()
    assert there(one, TENANTS[3]) == {"first", "second"}


async def test_looking_finds_a_log_that_was_lost(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each tenant, in its turn; what was there is put back."""
    monkeypatch.setattr(proving, "HEADS_AT_ONCE", 10)
    tenants = TENANTS[:20]
    for tenant in tenants:
        await come(server, tenant, "first")
    one = MemoryReplica(server, "one", followed_max=FOLLOWED_MAX)
    await one.follow()
    await empty(server)
    for _ in range(2):
        await one.projector.proving.look()
    await one.follow()
    assert one.projector.mending.seeded == len(tenants)
    assert all(there(one, tenant) == {"first"} for tenant in tenants)


async def test_groups_are_filled_before_new_ones_are_made(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group holds a connection."""
    monkeypatch.setattr(following, "GROUP_SIZE", 20)
    calls = {"reading": 0, "most": 0}

    async with running(server) as one:
        ask = one.store.read

        async def counted(
            after: dict[Tenant, Position], tenants_after: str, block_ms: int, follow: bool = False
        ) -> Tail:
            calls["reading"] += block_ms == following.QUIET_BLOCK_MS
            calls["most"] = max(calls["most"], calls["reading"])
            try:
                return await ask(after, tenants_after, block_ms, follow)
            finally:
                calls["reading"] -= block_ms == following.QUIET_BLOCK_MS

        one.store.read = counted  # type: ignore[method-assign, assignment]
        for tenant in TENANTS:
            await come(server, tenant, "second")
            await elapse(SOON_S)
        await elapse(following.QUIET_BLOCK_MS / 1000)
    assert 4 <= calls["most"] <= 2 * len(TENANTS) / 20


async def test_news_of_very_many_quiet_logs_are_taken_together(server: MemoryServer) -> None:
    """Each read of a group names all of its logs: one for each that has news would cost the square of their number."""
    async with running(server) as one:
        await elapse(1)
        named = 0
        ask = one.store.read

        async def counted(
            after: dict[Tenant, Position], tenants_after: str, block_ms: int, follow: bool = False
        ) -> Tail:
            nonlocal named
            named += len(after) * (block_ms == following.QUIET_BLOCK_MS)
            return await ask(after, tenants_after, block_ms, follow)

        one.store.read = counted  # type: ignore[method-assign, assignment]
        for tenant in TENANTS:
            await come(server, tenant, "second")
            await elapse(0.001)
        await elapse(SOON_S)
        assert all("second" in there(one, tenant) for tenant in TENANTS)
        assert named <= 20 * len(TENANTS)


async def test_rare_news_of_a_group_are_not_kept_waiting(server: MemoryServer) -> None:
    """Only a group that has news all the time is read less often, and only as long as it has."""
    async with running(server) as one:
        for tenant in TENANTS[:10]:
            await come(server, tenant, "second")
            await elapse(0.001)
        for first, second in zip(TENANTS[10:30:2], TENANTS[11:30:2], strict=True):
            await elapse(2 * following.NEWS_PAUSE_MAX_S)
            for tenant in (first, second):
                await come(server, tenant, "second")
                await elapse(following.NEWS_PAUSE_S)
                assert "second" in there(one, tenant)
