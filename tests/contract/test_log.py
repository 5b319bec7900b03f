"""The log's promises: dense positions in one order, all or nothing, and a reader that misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.lease import Lease, LeaseName, Proposal, Write
from registry.store.port import HistoryChanged, Store
from tests.contract.worlds import World

LONG_MS = 600_000
OTHER_TENANT = Tenant("other", "project")
ODD_TENANTS = [
    Tenant("default", "default"),
    Tenant("a}{b", "{c}"),
    Tenant("a/b", "c"),
    Tenant("a", "b/c"),
    Tenant("with space", "ünïcode-空"),
    Tenant("%2F", "*?[x]"),
    Tenant("/", "\N{GRINNING FACE}"),
    Tenant("tenants", ""),
    Tenant("a\r\nb", "\0"),
]


def lease(service_id: str, instance_id: str, ttl_ms: int = LONG_MS) -> Lease:
    return Lease(service_id, instance_id, ttl_ms)


async def whole_log(store: Store, tenant: Tenant = DEFAULT_TENANT) -> Sequence[tuple[Position, bytes]]:
    return (await store.read({tenant: ORIGIN}, "", 0)).events.get(tenant, [])


async def begin(store: Store, *payloads: bytes, tenant: Tenant = DEFAULT_TENANT) -> int:
    """Begin a history with these events (one when none are given). Returns its epoch."""
    positions = await store.commit(tenant, 0, [Write(payload) for payload in payloads or (b"first",)])
    assert positions[0] is not None
    return positions[0].epoch


async def test_a_log_that_nobody_wrote_to_has_no_events(world: World) -> None:
    """A tenant that was merely asked about must not come into being."""
    store = await world.connect()
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    assert await store.eldest(DEFAULT_TENANT) is None
    assert await whole_log(store) == []
    assert await store.remaining(DEFAULT_TENANT, [LeaseName("s", "i")]) == [-1]
    assert await store.head(DEFAULT_TENANT) == ORIGIN


async def test_the_first_commit_begins_a_history_named_by_the_stores_clock(world: World) -> None:
    """A history that begins after another was lost must come after it."""
    store = await world.connect()
    before = await world.now_ms()
    positions = await store.commit(DEFAULT_TENANT, 0, [Write(b"a")])
    after = await world.now_ms()
    assert positions == [await store.head(DEFAULT_TENANT)]
    assert positions[0] is not None
    assert before <= positions[0].epoch <= after
    assert positions[0].sequence == 1


async def test_commits_are_appended_in_order_without_gaps(world: World) -> None:
    """A gap is how a replica tells that events are missing: one that is not so would stop it."""
    one, other = await world.connect(), await world.connect()
    epoch = await begin(one, b"1", b"2", b"3")
    assert await other.commit(DEFAULT_TENANT, epoch, [Write(b"4")]) == [Position(epoch, 4)]
    assert await one.commit(DEFAULT_TENANT, epoch, []) == []
    assert await one.commit(DEFAULT_TENANT, epoch, [Write(b"5"), Write(b"6")]) == [
        Position(epoch, 5),
        Position(epoch, 6),
    ]
    assert await whole_log(other) == [(Position(epoch, n), b"%d" % n) for n in range(1, 7)]
    assert await other.head(DEFAULT_TENANT) == Position(epoch, 6)


async def test_a_write_without_an_event_takes_no_position(world: World) -> None:
    """Leases change without events too; the positions answered must still be those of the events."""
    store = await world.connect()
    epoch = await begin(store)
    writes = [Write(None, (lease("s", "i"),)), Write(b"a"), Write(None), Write(b"b"), Write(None)]
    assert await store.commit(DEFAULT_TENANT, epoch, writes) == [
        None,
        Position(epoch, 2),
        None,
        Position(epoch, 3),
        None,
    ]
    assert [payload for _, payload in await whole_log(store)] == [b"first", b"a", b"b"]


async def test_leases_alone_begin_no_history(world: World) -> None:
    """The log's head is the truth about events, and there were none."""
    store = await world.connect()
    assert await store.commit(DEFAULT_TENANT, 0, [Write(None, (lease("s", "i"),))]) == [None]
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    (left,) = await store.remaining(DEFAULT_TENANT, [LeaseName("s", "i")])
    assert 0 < left <= LONG_MS
    assert (await begin(store)) > 0


async def test_concurrent_commits_of_two_replicas_each_get_positions_of_their_own(world: World) -> None:
    """Two events at one position would leave two replicas with two different truths."""
    one, other = await world.connect(), await world.connect()
    epoch = await begin(one)
    commits = [
        (one, other)[n % 2].commit(DEFAULT_TENANT, epoch, [Write(b"%d-a" % n), Write(b"%d-b" % n)]) for n in range(20)
    ]
    positions = await asyncio.gather(*commits)
    flat = [position for pair in positions for position in pair if position is not None]
    assert sorted(flat) == [Position(epoch, sequence) for sequence in range(2, 42)]
    log = dict(await whole_log(one))
    for n, (first, second) in enumerate(positions):
        assert first is not None
        assert second == first.next()
        assert (log[first], log[second]) == (b"%d-a" % n, b"%d-b" % n)


@pytest.mark.parametrize("payload", [b"\0", b"\r\n", b"\xff\xfe\0\x80", bytes(range(256)), b"0", b"{}" * 50_000])
async def test_a_payload_is_read_as_it_was_written(world: World, payload: bytes) -> None:
    """Events are binary; a byte changed is another event."""
    store = await world.connect()
    epoch = await begin(store, payload)
    assert await whole_log(store) == [(Position(epoch, 1), payload)]


async def test_an_empty_payload_is_refused_as_our_own_mistake(world: World) -> None:
    """Adapters could not agree on whether it is an event; no event is empty."""
    store = await world.connect()
    with pytest.raises(AssertionError):
        await store.commit(DEFAULT_TENANT, 0, [Write(b"a"), Write(b"")])
    assert await store.head(DEFAULT_TENANT) == ORIGIN


@pytest.mark.parametrize("known", ["none", "earlier", "later"])
async def test_a_commit_that_follows_another_history_raises_and_does_nothing(world: World, known: str) -> None:
    """A replica that has not seen a new history must not write on what it believes."""
    store = await world.connect()
    epoch = await begin(store)
    await store.commit(DEFAULT_TENANT, epoch, [Write(None, (lease("s", "kept"),))])
    followed = {"none": 0, "earlier": epoch - 1, "later": epoch + 1}[known]
    write = Write(b"lost", (lease("s", "new"),), (LeaseName("s", "kept"),))
    with pytest.raises(HistoryChanged):
        await store.commit(DEFAULT_TENANT, followed, [Write(b"lost too"), write])
    assert await whole_log(store) == [(Position(epoch, 1), b"first")]
    assert await store.head(DEFAULT_TENANT) == Position(epoch, 1)
    kept, new = await store.remaining(DEFAULT_TENANT, [LeaseName("s", "kept"), LeaseName("s", "new")])
    assert (kept > 0, new) == (True, -1)


async def test_after_the_log_was_lost_only_who_knows_of_none_may_begin_a_new_one(world: World) -> None:
    """A replica that still follows the lost history must notice before it writes."""
    store = await world.connect()
    epoch = await begin(store, b"a", b"b")
    await world.lose_log(DEFAULT_TENANT)
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    with pytest.raises(HistoryChanged):
        await store.commit(DEFAULT_TENANT, epoch, [Write(b"c")])
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    later = await begin(store, b"c")
    assert later > epoch
    assert await whole_log(store) == [(Position(later, 1), b"c")]


async def test_a_commit_grants_and_drops_the_leases_it_names(world: World) -> None:
    """An instance is registered with its lease or not at all, else it would be expired at once - or never."""
    store = await world.connect()
    names = [LeaseName("s", "a"), LeaseName("s", "b"), LeaseName("t", "a")]
    epoch = await begin(store)
    granted = Write(b"x", (lease("s", "a", 5_000), lease("s", "b")))
    await store.commit(DEFAULT_TENANT, epoch, [granted, Write(None, (lease("t", "a"),))])
    a, b, other = await store.remaining(DEFAULT_TENANT, names)
    assert 0 < a <= 5_000 < b <= LONG_MS
    assert 5_000 < other <= LONG_MS
    # In the order of the writes: dropped and granted again stays granted.
    await store.commit(
        DEFAULT_TENANT, epoch, [Write(b"y", (), (names[0], names[1])), Write(None, (lease("s", "b", 7_000),))]
    )
    a, b, other = await store.remaining(DEFAULT_TENANT, names)
    assert (a, b > 5_000, b <= 7_000, other > 5_000) == (-1, True, True, True)
    await store.commit(DEFAULT_TENANT, epoch, [Write(None, (), (LeaseName("s", "never"),))])


# -- histories that go on ----------------------------------------------------------------------------------------------


async def test_a_history_that_is_resumed_goes_on_in_its_new_epoch(world: World) -> None:
    """What was put back stands behind what was left, and is followed by what comes next, without a gap."""
    store, other = await world.connect(), await world.connect()
    epoch = await begin(store, b"1", b"2")
    await store.commit(DEFAULT_TENANT, epoch, [Write(None, (lease("s", "i"),))])
    later = epoch + 5
    await store.resume_history(DEFAULT_TENANT, Position(epoch, 2), later, [b"resumed", b"\0\r\n\xff", b"put back"])
    assert await other.head(DEFAULT_TENANT) == Position(later, 3)
    assert await other.commit(DEFAULT_TENANT, later, [Write(b"next")], 3) == [Position(later, 4)]
    expected = [(Position(later, n), p) for n, p in enumerate([b"resumed", b"\0\r\n\xff", b"put back", b"next"], 1)]
    assert await whole_log(other) == [(Position(epoch, 1), b"1"), (Position(epoch, 2), b"2"), *expected]
    assert list((await other.read({DEFAULT_TENANT: Position(epoch, 2)}, "", 0)).events[DEFAULT_TENANT]) == expected
    assert await other.entry(DEFAULT_TENANT, Position(later, 1)) == b"resumed"
    # Leases are no part of a history.
    assert (await store.remaining(DEFAULT_TENANT, [LeaseName("s", "i")]))[0] > 0


async def test_who_follows_the_history_before_may_not_write_to_the_resumed_one(world: World) -> None:
    """It has not seen what was put back."""
    store = await world.connect()
    epoch = await begin(store)
    await store.pulse(DEFAULT_TENANT, LONG_MS, False)
    await store.resume_history(DEFAULT_TENANT, Position(epoch, 1), epoch + 1, [b"resumed"])
    gone = Proposal(LeaseName("s", "i"), "1-1", b"gone")
    for followed in (epoch, 0):
        with pytest.raises(HistoryChanged):
            await store.commit(DEFAULT_TENANT, followed, [Write(b"lost")])
        with pytest.raises(HistoryChanged):
            await store.expire(DEFAULT_TENANT, followed, [gone], LONG_MS)
    assert not await store.revive(DEFAULT_TENANT, Position(epoch, 1), [lease("s", "i")])
    assert await store.head(DEFAULT_TENANT) == Position(epoch + 1, 1)
    assert await store.expire(DEFAULT_TENANT, epoch + 1, [gone], LONG_MS, 1) == [Position(epoch + 1, 2)]


async def test_an_epoch_stands_on_a_snapshot_that_is_there(world: World) -> None:
    """The store may be emptied once more between the two: a log without what it goes on from can be read by nobody."""
    store = await world.connect()
    epoch = await begin(store, b"a")
    await world.lose_log(DEFAULT_TENANT)
    beginning = Position(epoch + 1, 1)
    with pytest.raises(HistoryChanged):
        await store.resume_history(DEFAULT_TENANT, ORIGIN, beginning.epoch, [b"resumed"], seeded=True)
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    await store.snapshots.put_chunk(DEFAULT_TENANT, beginning, 0, b"chunk")
    assert await store.snapshots.put_mark(
        DEFAULT_TENANT, Mark(1, beginning.epoch, beginning.sequence, 1, 5, b"digest", 0)
    )
    await store.resume_history(DEFAULT_TENANT, ORIGIN, beginning.epoch, [b"resumed"], seeded=True)
    assert await whole_log(store) == [(beginning, b"resumed")]


async def test_a_log_that_was_lost_is_resumed_from_nothing(world: World) -> None:
    """An emptied store is seeded by the replica that remembers most."""
    store = await world.connect()
    epoch = await begin(store, b"a", b"b")
    await world.lose_log(DEFAULT_TENANT)
    with pytest.raises(HistoryChanged):
        await store.resume_history(DEFAULT_TENANT, Position(epoch, 2), epoch + 1, [b"resumed"])
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    await store.resume_history(DEFAULT_TENANT, ORIGIN, epoch + 1, [b"resumed"])
    assert await whole_log(store) == [(Position(epoch + 1, 1), b"resumed")]
    assert await store.commit(DEFAULT_TENANT, epoch + 1, [Write(b"next")]) == [Position(epoch + 1, 2)]


@pytest.mark.parametrize("moved", [(0, -1), (0, 1), (-1, 0), (1, 0), None], ids=str)
async def test_a_history_is_resumed_only_where_it_was_read_to(world: World, moved: tuple[int, int] | None) -> None:
    """An event that came since has not been taken into account, and might be contradicted."""
    store = await world.connect()
    epoch = await begin(store, b"1", b"2")
    head = ORIGIN if moved is None else Position(epoch + moved[0], 2 + moved[1])
    with pytest.raises(HistoryChanged):
        await store.resume_history(DEFAULT_TENANT, head, epoch + 9, [b"resumed"])
    assert [payload for _, payload in await whole_log(store)] == [b"1", b"2"]
    assert await store.commit(DEFAULT_TENANT, epoch, [Write(b"3")]) == [Position(epoch, 3)]


async def test_of_replicas_that_resume_a_history_at_once_one_does(world: World) -> None:
    """Else everything would be put back twice."""
    one, other = await world.connect(), await world.connect()
    epoch = await begin(one)
    outcomes = await asyncio.gather(
        *(
            (one, other)[n % 2].resume_history(DEFAULT_TENANT, Position(epoch, 1), epoch + 1 + n, [b"%d" % n])
            for n in range(4)
        ),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes].count(HistoryChanged) == 3
    winner = outcomes.index(None)
    assert await whole_log(one) == [(Position(epoch, 1), b"first"), (Position(epoch + 1 + winner, 1), b"%d" % winner)]


async def test_as_much_as_is_remembered_can_be_put_back(world: World) -> None:
    """A replica remembers 20 000 events, and they must arrive as one."""
    store = await world.connect()
    epoch = await begin(store)
    await store.resume_history(DEFAULT_TENANT, Position(epoch, 1), epoch + 1, [b"%d" % n for n in range(20_000)])
    assert await store.head(DEFAULT_TENANT) == Position(epoch + 1, 20_000)
    assert await store.entry(DEFAULT_TENANT, Position(epoch + 1, 20_000)) == b"19999"


async def test_a_waiting_read_is_woken_by_a_resumed_history(world: World) -> None:
    """The other replicas follow it at once."""
    store, other = await world.connect(), await world.connect()
    epoch = await begin(store)
    waiting = asyncio.create_task(store.read({DEFAULT_TENANT: Position(epoch, 1)}, "", 8_000))
    await world.reader_waits()
    await other.resume_history(DEFAULT_TENANT, Position(epoch, 1), epoch + 1, [b"resumed"])
    async with asyncio.timeout(5):
        tail = await waiting
    assert list(tail.events[DEFAULT_TENANT]) == [(Position(epoch + 1, 1), b"resumed")]


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_a_read_brings_what_is_after_each_position(world: World) -> None:
    """Re-reading is how a replica catches up: one event too few would be missing for ever."""
    store = await world.connect()
    epoch = await begin(store, b"1", b"2", b"3")
    other_epoch = await begin(store, b"x", tenant=OTHER_TENANT)
    for sequence in range(4):
        tail = await store.read({DEFAULT_TENANT: Position(epoch, sequence)}, "", 0)
        expected = [(Position(epoch, n), b"%d" % n) for n in range(sequence + 1, 4)]
        assert list(tail.events.get(DEFAULT_TENANT, [])) == expected
        assert OTHER_TENANT not in tail.events
    tail = await store.read({DEFAULT_TENANT: Position(epoch, 2), OTHER_TENANT: ORIGIN}, "", 0)
    assert {tenant: list(events) for tenant, events in tail.events.items()} == {
        DEFAULT_TENANT: [(Position(epoch, 3), b"3")],
        OTHER_TENANT: [(Position(other_epoch, 1), b"x")],
    }
    nothing = await store.read({DEFAULT_TENANT: Position(epoch, 3), OTHER_TENANT: Position(other_epoch, 1)}, "", 0)
    assert not nothing.events


async def test_a_position_of_a_lost_history_reads_the_whole_new_one(world: World) -> None:
    """A replica that lagged behind a failover sees the new history, and that its own position is not in it."""
    store = await world.connect()
    epoch = await begin(store, b"1", b"2")
    await world.lose_log(DEFAULT_TENANT)
    later = await begin(store, b"new")
    tail = await store.read({DEFAULT_TENANT: Position(epoch, 2)}, "", 0)
    assert list(tail.events[DEFAULT_TENANT]) == [(Position(later, 1), b"new")]


async def test_a_long_log_is_read_in_portions(world: World) -> None:
    """A replica that starts must not be sent a million events at once."""
    store = await world.connect(read_max=2)
    epoch = await begin(store, *(b"%d" % n for n in range(1, 6)))
    portions = []
    at = ORIGIN
    while events := (await store.read({DEFAULT_TENANT: at}, "", 0)).events.get(DEFAULT_TENANT):
        portions.append([payload for _, payload in events])
        at = events[-1][0]
    assert portions == [[b"1", b"2"], [b"3", b"4"], [b"5"]]
    assert at == Position(epoch, 5)


async def test_a_new_tenant_is_announced_to_every_reader_once(world: World) -> None:
    """A replica follows a tenant from the moment it hears of it, no matter which replica served the tenant first."""
    one, other = await world.connect(), await world.connect()
    await one.add_tenant(DEFAULT_TENANT)
    await other.add_tenant(DEFAULT_TENANT)
    tail = await other.read({}, "", 0)
    assert tail.tenants == [DEFAULT_TENANT]
    assert not (await other.read({}, tail.tenants_after, 0)).tenants
    await other.add_tenant(OTHER_TENANT)
    await one.add_tenant(DEFAULT_TENANT)
    next_tail = await other.read({}, tail.tenants_after, 0)
    assert next_tail.tenants == [OTHER_TENANT]
    assert not (await other.read({}, next_tail.tenants_after, 0)).tenants
    assert (await one.read({}, "", 0)).tenants == [DEFAULT_TENANT, OTHER_TENANT]


async def test_a_tenant_that_is_taken_off_the_list_is_told_to_every_reader_with_its_place(world: World) -> None:
    """By the place each reader knows whether something was written to it since. The log stays, and who comes back is
    announced as ever.
    """
    one, other = await world.connect(), await world.connect()
    for tenant in (DEFAULT_TENANT, OTHER_TENANT):
        await one.add_tenant(tenant)
    (position,) = await one.commit(OTHER_TENANT, 0, [Write(b"1")])
    assert position is not None
    heard = (await other.read({}, "", 0)).tenants_after
    assert await one.forget_tenant(OTHER_TENANT, position)
    assert not await other.forget_tenant(OTHER_TENANT, position), "it is not there any more"
    assert not await other.forget_tenant(Tenant("never", "there"), ORIGIN)
    tail = await other.read({}, heard, 0)
    assert (tail.tenants, tail.gone) == ([], ((OTHER_TENANT, position),))
    assert await one.tenants() == [DEFAULT_TENANT]
    assert await one.head(OTHER_TENANT) == position
    fresh = await other.read({}, "", 0)
    assert (fresh.tenants, fresh.gone) == ([DEFAULT_TENANT], ((OTHER_TENANT, position),))
    assert await one.add_tenant(OTHER_TENANT, 2), "it does not count"
    assert (await other.read({}, tail.tenants_after, 0)).tenants == [OTHER_TENANT]
    fresh = await other.read({}, "", 0)
    assert (fresh.tenants, fresh.gone) == ([DEFAULT_TENANT, OTHER_TENANT], ())


async def test_a_reader_that_waits_hears_of_a_tenant_that_is_taken_off_the_list(world: World) -> None:
    one, other = await world.connect(), await world.connect()
    await one.add_tenant(OTHER_TENANT)
    heard = (await other.read({}, "", 0)).tenants_after
    waiting = asyncio.create_task(other.read({}, heard, 20_000, follow=True))
    await asyncio.sleep(0)
    await one.forget_tenant(OTHER_TENANT, ORIGIN)
    async with asyncio.timeout(10):
        assert (await waiting).gone == ((OTHER_TENANT, ORIGIN),)


async def test_one_tenant_more_than_there_may_be_is_not_announced(world: World) -> None:
    """However many replicas ask at once; those that are there may be announced again."""
    store, other = await world.connect(), await world.connect()
    three = [Tenant(f"t{number}", "p") for number in range(3)]
    assert await store.add_tenant(three[0], 2)
    assert sorted(
        await asyncio.gather(*(s.add_tenant(t, 2) for s, t in zip((store, other), three[1:], strict=True)))
    ) == [
        False,
        True,
    ]
    found = list((await other.read({}, "", 0)).tenants)
    assert len(found) == 2
    assert await store.add_tenant(found[1], 2)
    assert await store.add_tenant(found[1], 1)
    assert await store.add_tenant(next(iter({*three} - {*found})))
    assert set((await other.read({}, "", 0)).tenants) == {*three}


async def test_a_read_that_finds_nothing_keeps_the_place_in_the_list_of_tenants(world: World) -> None:
    """Else a replica would hear of every tenant again and again, or of none."""
    store = await world.connect()
    await store.add_tenant(DEFAULT_TENANT)
    heard = (await store.read({}, "", 0)).tenants_after
    again = await store.read({DEFAULT_TENANT: ORIGIN}, heard, 0)
    assert (again.tenants, again.tenants_after) == ([], heard)


async def test_tenants_with_odd_names_are_separate_and_come_back_as_they_were(world: World) -> None:
    """Domain and project come from a client: no character of theirs may lead into another tenant's log."""
    store = await world.connect()
    for number, tenant in enumerate(ODD_TENANTS):
        await store.add_tenant(tenant)
        epoch = await begin(store, b"%d" % number, tenant=tenant)
        await store.commit(tenant, epoch, [Write(None, (lease("s", "i", LONG_MS + number * 10_000),))])
    assert (await store.read({}, "", 0)).tenants == ODD_TENANTS
    tail = await store.read(dict.fromkeys(ODD_TENANTS, ORIGIN), "", 0)
    assert {tenant: [payload for _, payload in events] for tenant, events in tail.events.items()} == {
        tenant: [b"%d" % number] for number, tenant in enumerate(ODD_TENANTS)
    }
    for number, tenant in enumerate(ODD_TENANTS):
        (left,) = await store.remaining(tenant, [LeaseName("s", "i")])
        assert LONG_MS + number * 10_000 - 9_000 < left <= LONG_MS + number * 10_000


async def test_a_waiting_read_is_woken_by_an_event(world: World) -> None:
    """Other replicas' writes show at once, not after the next poll."""
    store, other = await world.connect(), await world.connect()
    epoch = await begin(store)
    waiting = asyncio.create_task(store.read({DEFAULT_TENANT: Position(epoch, 1)}, "", 8_000))
    await world.reader_waits()
    await other.commit(DEFAULT_TENANT, epoch, [Write(b"news")])
    async with asyncio.timeout(5):
        tail = await waiting
    assert list(tail.events[DEFAULT_TENANT]) == [(Position(epoch, 2), b"news")]


async def test_a_waiting_read_is_woken_by_the_first_event_of_a_log(world: World) -> None:
    """A tenant that is followed before anyone wrote to it must not stay silent."""
    store, other = await world.connect(), await world.connect()
    waiting = asyncio.create_task(store.read({DEFAULT_TENANT: ORIGIN}, "", 8_000))
    await world.reader_waits()
    epoch = await begin(other, b"news")
    async with asyncio.timeout(5):
        tail = await waiting
    assert list(tail.events[DEFAULT_TENANT]) == [(Position(epoch, 1), b"news")]


async def test_a_waiting_read_is_woken_by_a_new_tenant(world: World) -> None:
    """A replica that follows nobody yet waits for the first tenant."""
    store, other = await world.connect(), await world.connect()
    waiting = asyncio.create_task(store.read({}, "", 8_000))
    await world.reader_waits()
    await other.add_tenant(OTHER_TENANT)
    async with asyncio.timeout(5):
        assert (await waiting).tenants == [OTHER_TENANT]


async def test_a_waiting_read_is_woken_by_an_expiry(world: World) -> None:
    """A dead provider disappears on every replica, not only on the one that noticed."""
    store, other = await world.connect(), await world.connect()
    epoch = await begin(store)
    await store.pulse(DEFAULT_TENANT, LONG_MS, False)
    waiting = asyncio.create_task(store.read({DEFAULT_TENANT: Position(epoch, 1)}, "", 8_000))
    await world.reader_waits()
    await other.expire(DEFAULT_TENANT, epoch, [Proposal(LeaseName("s", "i"), "1-1", b"gone")], LONG_MS)
    async with asyncio.timeout(5):
        tail = await waiting
    assert list(tail.events[DEFAULT_TENANT]) == [(Position(epoch, 2), b"gone")]


async def test_a_waiting_read_ends_empty_when_nothing_happens(world: World) -> None:
    """The reader looks up now and then, so that a dead connection is noticed."""
    store = await world.connect()
    epoch = await begin(store)
    async with asyncio.timeout(5):
        tail = await store.read({DEFAULT_TENANT: Position(epoch, 1)}, "", 15)
    assert (dict(tail.events), list(tail.tenants)) == ({}, [])


async def test_the_eldest_event_is_the_first_that_is_read(world: World) -> None:
    """From it on history can be told."""
    store = await world.connect()
    epoch = await begin(store, *(b"%d" % number for number in range(1, 501)))
    assert await store.eldest(DEFAULT_TENANT) == (Position(epoch, 1), b"1")
    assert await store.snapshots.trim(DEFAULT_TENANT, Position(epoch, 400)) > 0
    assert await store.eldest(DEFAULT_TENANT) == (await whole_log(store))[0]


# -- what it is --------------------------------------------------------------------------------------------------------


async def test_a_store_tells_what_it_is(world: World) -> None:
    about = await (await world.connect()).about()
    assert about.mode in ("memory", "server", "cluster")
    assert about.program in ("memory", "Redis", "Valkey")
    assert (about.mode == "memory") == (about.program == "memory") == (not about.version)
    assert about.servers == (3 if about.mode == "cluster" else 1)
    assert about.limit_bytes == 0
    assert about.mode == "memory" or about.used_bytes > 100_000
