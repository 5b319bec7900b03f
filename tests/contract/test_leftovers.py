"""What forgotten tenants leave: the log of the list of tenants can be shortened, and a log that is over be deleted."""

from __future__ import annotations

import pytest

from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.damage import Condition, Damaged, KeyName
from registry.store.lease import Lease, LeaseName, Write
from registry.store.port import HistoryChanged, Store
from tests.contract.worlds import World

LONG_MS = 600_000
GONE = Tenant("gone/", "{project}")
LEASE = Lease("s", "i", LONG_MS)


async def leave(store: Store, tenant: Tenant = GONE) -> Position:
    """A tenant came, wrote, was looked after, and was taken off the list; where its log ends."""
    await store.add_tenant(tenant)
    (position,) = await store.commit(tenant, 0, [Write(b"event", (LEASE,))])
    assert position is not None
    await store.beat(tenant, [LEASE], "r")
    await store.snapshots.put_chunk(tenant, position, 0, b"chunk")
    await store.snapshots.put_mark(tenant, Mark(FORMAT, position.epoch, position.sequence, 1, 5, b"digest", 1, "r"))
    await store.snapshots.exchange(tenant, "r", b"state", LONG_MS)
    await store.commit(tenant, position.epoch, [Write(None, (), (LeaseName("s", "i"),))])
    assert await store.forget_tenant(tenant, position)
    return position


async def test_notices_tell_who_came_and_who_went_and_how_long_ago(world: World) -> None:
    store = await world.connect()
    await store.add_tenant(DEFAULT_TENANT)
    at = await leave(store)
    await world.pass_time(50)
    first, *others = await store.leftovers.notices("", 2)
    assert (first.tenant, first.gone_at) == (DEFAULT_TENANT, None)
    assert [(one.tenant, one.gone_at) for one in others] == [(GONE, None)]
    (last,) = await store.leftovers.notices(others[-1].entry, 2)
    assert (last.tenant, last.gone_at) == (GONE, at)
    assert 50 <= last.age_ms < LONG_MS
    assert await store.leftovers.notices(last.entry, 2) == []


async def test_a_reader_hears_the_last_word_wherever_it_stands_when_others_are_struck(world: World) -> None:
    """One that is new, one that has heard half of it, and one that has heard all."""
    store = await world.connect()
    places = [""]
    for _ in range(3):
        await store.add_tenant(GONE)
        places.append((await store.read({}, places[-1], 0)).tenants_after)
        await store.forget_tenant(GONE, Position(7, 1))
        places.append((await store.read({}, places[-1], 0)).tenants_after)
    entries = [notice.entry for notice in await store.leftovers.notices("", 10)]
    await store.leftovers.strike(entries[:-1])
    assert [notice.entry for notice in await store.leftovers.notices("", 10)] == entries[-1:]
    for place in places[:-1]:
        tail = await store.read({}, place, 0)
        assert (tail.tenants, tail.gone, tail.tenants_after) == ([], ((GONE, Position(7, 1)),), places[-1])
    await store.leftovers.strike(entries[-1:])
    assert (await store.read({}, "", 0)).gone == ()
    await store.add_tenant(GONE)
    for place in places:
        assert (await store.read({}, place, 0)).tenants == [GONE]


async def test_what_is_left_of_a_tenant_is_deleted(world: World) -> None:
    """Log, snapshots, evidence: as if it had never been there. Repetition does no harm."""
    store = await world.connect()
    at = await leave(store)
    assert await store.leftovers.clear(GONE, at)
    assert await store.upkeep.condition(GONE) == Condition({}, "", "", "")
    assert (await store.head(GONE), await store.eldest(GONE)) == (ORIGIN, None)
    assert await store.snapshots.marks(GONE) == []
    assert await store.snapshots.chunk(GONE, at, 0) is None
    assert await store.snapshots.exchange(GONE, "other", b"", LONG_MS) == {}
    assert await store.upkeep.found() == []
    assert await store.leftovers.clear(GONE, at)


async def test_one_that_comes_back_afterwards_begins_a_later_history(world: World) -> None:
    """No position is given twice. A writer that still holds the old history is told."""
    store = await world.connect()
    at = await leave(store)
    assert await store.leftovers.clear(GONE, at)
    with pytest.raises(HistoryChanged):
        await store.commit(GONE, at.epoch, [Write(b"new")], at.sequence)
    await world.pass_time(2)
    (position,) = await store.commit(GONE, 0, [Write(b"new")])
    assert position is not None
    assert position > at
    await store.inspect(GONE)


async def test_one_that_is_on_the_list_keeps_everything(world: World) -> None:
    """It is back, if only to be asked for."""
    store = await world.connect()
    at = await leave(store)
    await store.add_tenant(GONE)
    assert not await store.leftovers.clear(GONE, at)
    assert await store.entry(GONE, at) == b"event"
    assert len(await store.snapshots.marks(GONE)) == 1


async def test_a_log_that_goes_on_is_kept(world: World) -> None:
    """It was written to, and nobody has put the tenant on the list yet."""
    store = await world.connect()
    at = await leave(store)
    await store.commit(GONE, at.epoch, [Write(b"next")])
    assert not await store.leftovers.clear(GONE, at)
    assert await store.head(GONE) == at.next()
    assert await store.entry(GONE, at) == b"event"


@pytest.mark.parametrize("name", ["head", "snapshots"])
async def test_what_is_damaged_is_left_for_a_repair(world: World, name: KeyName) -> None:
    store = await world.connect()
    at = await leave(store)
    await world.spoil(GONE, name)
    with pytest.raises(Damaged) as raised:
        await store.leftovers.clear(GONE, at)
    assert raised.value.key == store.key(GONE, name)
    assert await store.entry(GONE, at) == b"event"


async def test_a_log_without_its_head_is_left_for_a_repair(world: World) -> None:
    store = await world.connect()
    at = await leave(store)
    await store.upkeep.forget(GONE, "head")
    assert not await store.leftovers.clear(GONE, at)
    assert await store.entry(GONE, at) == b"event"


async def test_a_damaged_list_is_named(world: World) -> None:
    store = await world.connect()
    at = await leave(store)
    await world.announce_nobody()
    with pytest.raises(Damaged, match="it announces no tenant"):
        await store.leftovers.notices("", 10)
    await world.spoil(None, "tenants_log")
    await world.spoil(None, "tenants")
    for call in (store.leftovers.notices("", 10), store.leftovers.strike(["1"]), store.leftovers.clear(GONE, at)):
        with pytest.raises(Damaged, match="the list of tenants"):
            await call
