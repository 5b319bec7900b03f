"""The promises about what is kept beside a log: snapshots, its trimmed beginning, and what replicas tell each other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import DEFAULT_TENANT as TENANT
from registry.domain.tenant import Tenant
from registry.store import redis_snapshots
from registry.store.lease import Write
from registry.store.port import Store
from tests.contract.worlds import World

LONG_MS = 600_000
SHORT_MS = 30
OTHER_TENANT = Tenant("a}/{b", "ü *")
#: Enough for several nodes of a Redis stream, which holds a hundred entries in each.
MANY = 450


def mark_of(position: Position, chunks: int, replica: str = "r1") -> Mark:
    return Mark(FORMAT, position.epoch, position.sequence, chunks, 99, b"\0\xff digest", 1_650_545_035_000, replica)


async def put(store: Store, position: Position, *chunks: bytes, tenant: Tenant = TENANT) -> Mark:
    """Write a snapshot of these chunks."""
    for index, chunk in enumerate(chunks):
        await store.snapshots.put_chunk(tenant, position, index, chunk)
    mark = mark_of(position, len(chunks))
    assert await store.snapshots.put_mark(tenant, mark)
    return mark


async def chunks_of(store: Store, position: Position, count: int, tenant: Tenant = TENANT) -> list[bytes | None]:
    return [await store.snapshots.chunk(tenant, position, index) for index in range(count)]


async def whole_log(store: Store, tenant: Tenant = TENANT) -> Sequence[tuple[Position, bytes]]:
    """Read as a replica does that knows nothing, portion by portion."""
    found: list[tuple[Position, bytes]] = []
    while events := (await store.read({tenant: found[-1][0] if found else ORIGIN}, "", 0)).events.get(tenant):
        found += events
    return found


async def begin(store: Store, count: int = MANY, tenant: Tenant = TENANT) -> int:
    """Begin a history of a number of events, `1` and so on. Returns its epoch."""
    positions = await store.commit(tenant, 0, [Write(b"%d" % n) for n in range(1, count + 1)])
    assert positions[0] is not None
    return positions[0].epoch


def log_of(epoch: int, first: int, last: int) -> list[tuple[Position, bytes]]:
    return [(Position(epoch, n), b"%d" % n) for n in range(first, last + 1)]


# -- snapshots ---------------------------------------------------------------------------------------------------------


async def test_a_tenant_without_snapshots_has_none(world: World) -> None:
    """Asking must not bring anything into being."""
    store = await world.connect()
    assert await store.snapshots.marks(TENANT) == []
    assert await store.snapshots.chunk(TENANT, Position(7, 3), 0) is None
    assert await store.head(TENANT) == ORIGIN


async def test_a_snapshot_is_read_as_it_was_written(world: World) -> None:
    """A byte changed in a snapshot is another registry, on every replica that starts from it."""
    store, other = await world.connect(), await world.connect()
    chunks = [b"", b"\0\r\n\xff", bytes(range(256)) * 4000]
    mark = await put(store, Position(7, 3), *chunks)
    assert await other.snapshots.marks(TENANT) == [mark]
    assert await chunks_of(other, Position(7, 3), 4) == [*chunks, None]
    assert await chunks_of(other, Position(7, 30), 1) == [None]


async def test_a_snapshot_is_not_found_before_it_is_complete(world: World) -> None:
    """A replica that starts must not be handed the half of one whose writer has died."""
    store, other = await world.connect(), await world.connect()
    position = Position(7, 3)
    for index in range(3):
        assert not await store.snapshots.put_mark(TENANT, mark_of(position, 3))
        assert await other.snapshots.marks(TENANT) == []
        # The last one first: what counts is that all are there, not how many.
        await store.snapshots.put_chunk(TENANT, position, 2 - index, b"%d" % index)
    assert await store.snapshots.put_mark(TENANT, mark_of(position, 3))
    assert await other.snapshots.marks(TENANT) == [mark_of(position, 3)]


async def test_marks_come_newest_first(world: World) -> None:
    """A replica starts from the newest; as text, 7-10 would stand before 7-9."""
    store = await world.connect()
    order = [Position(7, 9), Position(10, 1), Position(7, 10), Position(9, 2), Position(7, 100)]
    marks = [await put(store, position, b"x") for position in order]
    found = await store.snapshots.marks(TENANT)
    assert [mark.position for mark in found] == sorted(order, reverse=True)
    assert sorted(found, key=lambda mark: mark.position) == sorted(marks, key=lambda mark: mark.position)


async def test_to_write_a_snapshot_again_is_harmless(world: World) -> None:
    """A writer whose answer was lost begins anew."""
    store = await world.connect()
    await put(store, Position(7, 3), b"a", b"b")
    await put(store, Position(7, 3), b"c", b"d")
    assert await store.snapshots.put_mark(TENANT, mark_of(Position(7, 3), 2, "r2"))
    assert await store.snapshots.marks(TENANT) == [mark_of(Position(7, 3), 2, "r2")]
    assert await chunks_of(store, Position(7, 3), 3) == [b"c", b"d", None]


async def test_a_snapshot_that_was_dropped_is_gone_and_no_other(world: World) -> None:
    """Old snapshots of a large registry would fill the store."""
    store = await world.connect()
    old, new = await put(store, Position(7, 3), b"a", b"b"), await put(store, Position(7, 30), b"c")
    for _ in range(2):
        await store.snapshots.drop(TENANT, old)
        assert await store.snapshots.marks(TENANT) == [new]
        assert await chunks_of(store, Position(7, 3), 2) == [None, None]
        assert await chunks_of(store, Position(7, 30), 1) == [b"c"]
    assert not await store.snapshots.put_mark(TENANT, old)


async def test_what_was_written_of_a_snapshot_can_be_dropped_before_it_is_complete(world: World) -> None:
    """A writer that gives up leaves nothing."""
    store = await world.connect()
    await store.snapshots.put_chunk(TENANT, Position(7, 3), 0, b"a")
    await store.snapshots.drop(TENANT, mark_of(Position(7, 3), 2))
    assert await chunks_of(store, Position(7, 3), 2) == [None, None]


async def test_each_tenant_has_snapshots_of_its_own(world: World) -> None:
    """One tenant's registry must never be loaded as another's."""
    store = await world.connect()
    mark = await put(store, Position(7, 3), b"a")
    assert await store.snapshots.marks(OTHER_TENANT) == []
    assert await chunks_of(store, Position(7, 3), 1, OTHER_TENANT) == [None]
    other_mark = await put(store, Position(7, 4), b"b", tenant=OTHER_TENANT)
    await store.snapshots.drop(OTHER_TENANT, mark)
    assert await store.snapshots.marks(TENANT) == [mark]
    assert await store.snapshots.marks(OTHER_TENANT) == [other_mark]
    assert await chunks_of(store, Position(7, 3), 1) == [b"a"]


# -- trim --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [2, 100, 101, 102, 201, 250, 301, MANY])
async def test_trimming_drops_events_before_a_position_and_never_one_at_it(world: World, before: int) -> None:
    """By the event at its position a snapshot is proven to be of this log; what comes after it is nowhere else."""
    store, other = await world.connect(), await world.connect()
    epoch = await begin(store)
    trimmed = await store.snapshots.trim(TENANT, Position(epoch, before))
    # Whole nodes may be all that goes, but those do.
    assert (before - 1) // 100 * 100 <= trimmed <= before - 1
    assert await whole_log(other) == log_of(epoch, trimmed + 1, MANY)
    assert await other.entry(TENANT, Position(epoch, before)) == b"%d" % before
    if trimmed:
        assert await other.entry(TENANT, Position(epoch, trimmed)) is None
    again = await store.snapshots.trim(TENANT, Position(epoch, before))
    assert trimmed + again <= before - 1


async def test_a_trimmed_log_goes_on_as_before(world: World) -> None:
    """Only what is old goes; positions, leases and who may write stay."""
    store = await world.connect()
    epoch = await begin(store)
    trimmed = await store.snapshots.trim(TENANT, Position(epoch, 300))
    assert trimmed >= 200
    assert await store.head(TENANT) == Position(epoch, MANY)
    assert await store.commit(TENANT, epoch, [Write(b"%d" % (MANY + 1))], MANY) == [Position(epoch, MANY + 1)]
    assert await whole_log(store) == log_of(epoch, trimmed + 1, MANY + 1)
    tail = await store.read({TENANT: Position(epoch, MANY - 1)}, "", 0)
    assert list(tail.events[TENANT]) == log_of(epoch, MANY, MANY + 1)


async def test_a_log_that_is_trimmed_beyond_its_end_keeps_its_place(world: World) -> None:
    """A snapshot of everything stands in for everything; the next event must still be the next one."""
    store = await world.connect()
    epoch = await begin(store, 200)
    assert await store.snapshots.trim(TENANT, Position(epoch, 201)) <= 200
    assert await store.snapshots.trim(TENANT, Position(epoch + 1, 1)) <= 200
    assert await store.head(TENANT) == Position(epoch, 200)
    assert await store.commit(TENANT, epoch, [Write(b"next")]) == [Position(epoch, 201)]
    assert (await whole_log(store))[-1] == (Position(epoch, 201), b"next")


async def test_an_earlier_epoch_is_trimmed_before_a_later_one(world: World) -> None:
    """Sequences begin again with each epoch: 8-1 is after 7-450."""
    store = await world.connect()
    epoch = await begin(store)
    later = epoch + 1
    await store.resume_history(TENANT, Position(epoch, MANY), later, [b"%d" % n for n in range(1, MANY + 1)])
    trimmed = await store.snapshots.trim(TENANT, Position(later, 150))
    assert MANY <= trimmed <= MANY + 149
    assert await whole_log(store) == log_of(later, trimmed - MANY + 1, MANY)


@pytest.mark.parametrize("sequence", [0, 1])
async def test_there_is_nothing_before_the_first_event(world: World, sequence: int) -> None:
    """A snapshot of nothing stands in for nothing."""
    store = await world.connect()
    assert await store.snapshots.trim(TENANT, Position(7, 3)) == 0
    epoch = await begin(store)
    assert await store.snapshots.trim(TENANT, Position(epoch, sequence)) == 0
    assert await store.snapshots.trim(TENANT, ORIGIN) == 0
    assert await store.snapshots.trim(OTHER_TENANT, Position(epoch, 400)) == 0
    assert await whole_log(store) == log_of(epoch, 1, MANY)


async def test_a_long_log_is_trimmed_in_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of events dropped in one step would hold up every heartbeat."""
    monkeypatch.setattr(redis_snapshots, "TRIM_STEP_MAX", 200)
    store = await world.connect()
    epoch = await begin(store, 1000)
    assert await store.snapshots.trim(TENANT, Position(epoch, 901)) == 900
    assert await whole_log(store) == log_of(epoch, 901, 1000)


# -- what replicas tell each other -------------------------------------------------------------------------------------


async def test_one_replica_at_a_time_holds_the_right_to_write_snapshots(world: World) -> None:
    """Two writers would trim behind each other's backs."""
    one, other = await world.connect(), await world.connect()
    assert await one.snapshots.hold(TENANT, "r1", LONG_MS)
    assert not await other.snapshots.hold(TENANT, "r2", LONG_MS)
    assert await one.snapshots.hold(TENANT, "r1", LONG_MS)
    assert not await other.snapshots.hold(TENANT, "r", LONG_MS)
    # Another tenant's may be another's.
    assert await other.snapshots.hold(OTHER_TENANT, "r2", LONG_MS)
    assert not await one.snapshots.hold(OTHER_TENANT, "r1", LONG_MS)


async def test_the_right_to_write_snapshots_lapses_with_its_holder(world: World) -> None:
    """A replica that died must not keep everybody from writing snapshots for ever."""
    store = await world.connect()
    assert await store.snapshots.hold(TENANT, "r1", SHORT_MS)
    await world.pass_time(SHORT_MS + 5)
    assert await store.snapshots.hold(TENANT, "r2", SHORT_MS)
    # Held again it is held for as long as is said then.
    assert await store.snapshots.hold(TENANT, "r2", LONG_MS)
    await world.pass_time(SHORT_MS + 5)
    assert not await store.snapshots.hold(TENANT, "r1", LONG_MS)
    assert await store.snapshots.hold(TENANT, "r2", SHORT_MS)
    await world.pass_time(SHORT_MS + 5)
    assert await store.snapshots.hold(TENANT, "r1", LONG_MS)


async def test_replicas_take_what_the_others_have_left(world: World) -> None:
    """They compare what they hold; each is told of all others, and not of itself."""
    one, other = await world.connect(), await world.connect()
    states = {"r1": b"a b", "ü r2": b"\0\xff\r\n", "r3": b""}
    assert await one.snapshots.exchange(TENANT, "r1", b"first", LONG_MS) == {}
    assert await one.snapshots.exchange(TENANT, "r1", states["r1"], LONG_MS) == {}
    assert await other.snapshots.exchange(TENANT, "ü r2", states["ü r2"], LONG_MS) == {"r1": b"a b"}
    await other.snapshots.exchange(TENANT, "r3", states["r3"], LONG_MS)
    for replica, state in states.items():
        others = {name: left for name, left in states.items() if name != replica}
        assert await one.snapshots.exchange(TENANT, replica, state, LONG_MS) == others
    assert await other.snapshots.exchange(OTHER_TENANT, "r1", b"x", LONG_MS) == {}


async def test_what_a_replica_left_long_ago_is_not_taken(world: World) -> None:
    """A replica that is gone must not be compared with, nor waited for."""
    store = await world.connect()
    await store.snapshots.exchange(TENANT, "r1", b"old", LONG_MS)
    await world.pass_time(SHORT_MS + 10)
    await store.snapshots.exchange(TENANT, "r2", b"new", LONG_MS)
    assert await store.snapshots.exchange(TENANT, "r3", b"", LONG_MS) == {"r1": b"old", "r2": b"new"}
    assert "r1" not in await store.snapshots.exchange(TENANT, "r3", b"", SHORT_MS)
    await world.pass_time(SHORT_MS + 10)
    assert await store.snapshots.exchange(TENANT, "r2", b"newer", SHORT_MS) == {}
