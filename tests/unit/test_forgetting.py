"""Forgetting: a tenant that has been empty for a day costs no replica anything, and comes back whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, PolicySaved, ServiceUnregistered
from registry.domain.model import Policy
from registry.domain.position import ORIGIN
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.memory_server import MemoryServer
from tests.support.builders import (
    instance,
    instance_body,
    instance_registered,
    microservice,
    microservice_body,
    service_registered,
    stamp,
)
from tests.support.memory_replica import (
    FORGET_AFTER_MS,
    VIRTUAL,
    MemoryReplica,
    append,
    digests,
    restamped,
    virtual_ms,
)

pytestmark = pytest.mark.anyio

T = Tenant("once", "there")
DAY_S = FORGET_AFTER_MS / 1000


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def come(server: MemoryServer, tenant: Tenant = T, by: str = "w") -> None:
    events: list[Event] = [
        service_registered(microservice("cart"), chosen=True),
        instance_registered(instance("cart", "i1"), chosen=True),
    ]
    await append(server, *restamped(events, by, virtual_ms(), 0), tenant=tenant)


async def go(server: MemoryServer, tenant: Tenant = T, by: str = "x") -> None:
    gone = ServiceUnregistered(service_id="cart", force=True, **stamp()._asdict())
    await append(server, *restamped([gone], by, virtual_ms(), 0), tenant=tenant)


async def empty_for(server: MemoryServer, seconds: float, *names: str) -> list[MemoryReplica]:
    """Replicas that have followed a tenant which came, went, and was empty for that long."""
    await come(server)
    await go(server)
    await come(server, DEFAULT_TENANT)
    await go(server, DEFAULT_TENANT)
    replicas = [MemoryReplica(server, name) for name in names]
    for one in replicas:
        await one.follow()
    await asyncio.sleep(seconds)
    return replicas


async def test_who_has_been_empty_for_a_day_is_forgotten_by_all(server: MemoryServer) -> None:
    """Not a second before; the log stays; and the registry's own tenant is never."""
    a, b = await empty_for(server, DAY_S - 1, "a", "b")
    await a.forgetting.look()
    assert T in server.listed()
    await asyncio.sleep(1)
    await a.forgetting.look()
    for one in (a, b):
        await one.follow()
        assert one.projector.tenants == [DEFAULT_TENANT]
        assert one.projector.newest(T, 10) == []
        assert T not in one.projector.following.lively()
    assert list(server.listed()) == [DEFAULT_TENANT]
    assert len(server.of(T).events) == 3
    late = MemoryReplica(server, "late")
    await late.follow()
    assert late.projector.tenants == [DEFAULT_TENANT]
    assert (a.forgetting.forgotten, b.forgetting.forgotten) == (1, 0)


@pytest.mark.parametrize("what", ["service", "policy"])
async def test_who_holds_anything_is_not_forgotten(server: MemoryServer, what: str) -> None:
    lane = MemoryReplica(server, "a")
    if what == "service":
        await append(server, service_registered(microservice("cart"), chosen=True), tenant=T)
    else:
        await append(
            server,
            *restamped([PolicySaved(policy=Policy(name="p", id="p"), **stamp()._asdict())], "w", virtual_ms()),
            tenant=T,
        )
    await lane.follow()
    await asyncio.sleep(10 * DAY_S)
    await lane.forgetting.look()
    assert T in server.listed()


async def test_who_registers_again_comes_back_whole_and_everywhere(server: MemoryServer) -> None:
    """In the same log: positions go on, and the past is still there."""
    a, b = await empty_for(server, DAY_S, "a", "b")
    before = a.projector.view(T).position
    await a.forgetting.look()
    for one in (a, b):
        await one.follow()
    assert b.projector.view(T).position == ORIGIN
    await b.services.register(T, microservice_body("order"), "client")
    for one in (a, b):
        await one.follow()
        assert [row.service.service_name for row in one.projector.view(T).services.values()] == ["order"]
        assert one.projector.view(T).position == before.next()
    assert T in server.listed()
    assert digests(a.projector.view(T)) == digests(b.projector.view(T))


async def test_one_that_is_asked_for_comes_back_and_stays_a_day(server: MemoryServer) -> None:
    """Else each question would announce it and have it forgotten once more, and the list grow with each."""
    (a,) = await empty_for(server, DAY_S, "a")
    await a.forgetting.look()
    await a.follow()
    await a.projector.catch_up(T)
    assert a.projector.knows(T)
    for _ in range(10):
        await asyncio.sleep(60)
        await a.forgetting.look()
        await a.follow()
    assert a.projector.knows(T)
    await asyncio.sleep(DAY_S)
    await a.forgetting.look()
    await a.follow()
    assert not a.projector.knows(T)


@pytest.mark.parametrize("first", ["the list", "the log"])
async def test_what_is_written_at_the_same_moment_is_not_lost(server: MemoryServer, first: str) -> None:
    """Another replica has not heard yet that the tenant was forgotten when it writes to it."""
    a, b = await empty_for(server, DAY_S, "a", "b")
    await a.forgetting.look()
    if first == "the list":
        await a.follow()
    await b.services.register(T, microservice_body("order"), "client")
    for one in (b, a, b, a):
        await one.follow()
    for one in (a, b):
        names = [row.service.service_name for row in one.projector.view(T).services.values()]
        assert names == ["order"]
    assert T in server.listed()


async def test_it_is_forgotten_between_a_write_and_its_answer(server: MemoryServer) -> None:
    """The event stands in the log, and the replica that wrote it has just forgotten the tenant."""
    a, b = await empty_for(server, DAY_S, "a", "b")

    async def forgotten(name: str) -> None:
        if name == "commit":
            b.store.come_back()
            await server_forgets(server, b)

    b.store.after = forgotten
    await b.services.register(T, microservice_body("order"), "client")
    for one in (a, b):
        await one.follow()
        assert len(one.projector.view(T).services) == 1
    assert T in server.listed()


async def server_forgets(server: MemoryServer, one: MemoryReplica) -> None:
    """The tenant is taken off the list as of where the replica's view is, and the replica hears of it."""
    await one.store.forget_tenant(T, one.projector.view(T).position)
    assert one.projector.leave(T, one.projector.view(T).position)


async def test_news_that_were_not_read_yet_keep_it(server: MemoryServer) -> None:
    """What this replica holds is out of date: the log says more."""
    (a,) = await empty_for(server, DAY_S, "a")
    await come(server, by="y")
    await a.forgetting.look()
    assert T in server.listed()


async def test_one_that_never_had_a_log_is_forgotten_a_day_after_it_was_seen(server: MemoryServer) -> None:
    """It was announced by somebody whose write then failed."""
    lane = MemoryReplica(server, "a")
    await lane.store.add_tenant(T)
    await lane.follow()
    await lane.forgetting.look()
    assert T in server.listed()
    await asyncio.sleep(DAY_S)
    await lane.forgetting.look()
    await lane.follow()
    assert (list(server.listed()), lane.projector.tenants) == ([], [])


async def test_a_store_that_is_away_forgets_nobody_and_ends_nothing(server: MemoryServer) -> None:
    (a,) = await empty_for(server, DAY_S, "a")
    a.store.go_away()
    await a.forgetting.look()
    a.store.come_back()
    assert T in server.listed()
    await a.forgetting.look()
    assert T not in server.listed()


async def test_heartbeats_of_the_forgotten_are_refused_as_those_of_the_gone(server: MemoryServer) -> None:
    """Their instance left a day ago; another that registers gets its lease as ever."""
    (a,) = await empty_for(server, DAY_S, "a")
    await a.forgetting.look()
    await a.follow()
    with pytest.raises(Exception, match="i1"):
        await a.heartbeats.beat(T, "cart", "i1")
    service_id = await a.services.register(T, microservice_body("order"), "client")
    instance_id = await a.instances.register(T, service_id, instance_body(), "client")
    await a.heartbeats.beat(T, service_id, instance_id)
    a.store.go_away()
    with pytest.raises(StoreUnavailable):
        await a.services.register(T, microservice_body("third"), "client")


async def test_who_came_and_went_since_is_not_forgotten_for_what_was_said_before(server: MemoryServer) -> None:
    """It is empty again, but not for a day: what took it off the list spoke of an earlier place."""
    (a,) = await empty_for(server, DAY_S, "a")
    before = a.projector.view(T).position
    await come(server, by="y")
    await go(server, by="z")
    await a.follow()
    assert await a.store.forget_tenant(T, before)
    await a.follow()
    assert a.projector.knows(T)
    assert T in server.listed()
