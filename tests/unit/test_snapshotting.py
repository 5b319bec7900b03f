"""Snapshotting: which replica writes a snapshot when, and when it had better not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import structs

from registry.domain.errors import StoreUnavailable
from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.retention import Retention
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import Tenant
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.upkeep.snapshotting import (
    EVENTS_AT_STOP,
    HOLD_MS,
    LEAVE_WITHIN_S,
    LOOK_EVERY_S,
    STRAY_KEPT_MS,
)
from tests.support.memory_replica import VIRTUAL, MemoryReplica, cut, digests, elapse, empty, virtual_ms
from tests.support.snapshots import NOW, T, come, kept, marks, restored, taken

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def test_a_snapshot_is_due_after_so_many_events(server: MemoryServer) -> None:
    """One more or less often is paid for at every start, or all the time."""
    lane = MemoryReplica(server, "a")
    await come(server, 8)
    await lane.follow()
    assert await lane.snapshotting.write(T, 10) is None
    await come(server, 1, "x")
    await lane.follow()
    mark = await lane.snapshotting.write(T, 10)
    assert mark is not None
    assert (mark.position, mark.replica, mark.at_ms) == (lane.view.position, "a", virtual_ms())
    assert await marks(server) == [mark]
    await come(server, 9, "y")
    await lane.follow()
    assert await lane.snapshotting.write(T, 10) is None
    assert (lane.snapshotting.stats.written, lane.snapshotting.stats.size) == (1, mark.size)


async def test_with_many_instances_a_snapshot_is_due_later(server: MemoryServer) -> None:
    """Writing it costs as much as they are: a quarter of their number must have come."""
    lane = MemoryReplica(server, "a")
    await come(server, 100)
    await taken(server, lane)
    await come(server, 25, "x")
    await lane.follow()
    assert lane.view.instance_count == 125
    assert await lane.snapshotting.write(T, 10) is None
    await come(server, 8, "y")
    await lane.follow()
    assert await lane.snapshotting.write(T, 10) is not None


async def test_nothing_is_written_when_nothing_came(server: MemoryServer) -> None:
    """Not of an empty registry, and not the same one again; a look that is not due asks the store nothing."""
    lane = MemoryReplica(server, "a")
    await lane.store.add_tenant(T)
    await lane.follow()
    assert await lane.snapshotting.write(T, 0) is None
    await come(server, 3)
    await taken(server, lane)
    lane.store.calls.clear()
    assert await lane.snapshotting.write(T, 0) is None
    assert lane.store.calls == []


async def test_one_replica_writes(server: MemoryServer) -> None:
    """While one does, no other; when it is done, another may at once: the first may be about to stop."""
    a, b = MemoryReplica(server, "a"), MemoryReplica(server, "b")
    await come(server, 5)
    await a.follow()
    await b.follow()
    meanwhile: list[Mark | None] = []

    async def also(name: str) -> None:
        if name == "put_mark":
            meanwhile.append(await b.snapshotting.write(T, 1))

    a.store.before = also
    assert await a.snapshotting.write(T, 1)
    assert meanwhile == [None]
    await come(server, 5, "x")
    await b.follow()
    await elapse(1)
    assert await b.snapshotting.write(T, 1)


async def test_one_that_died_while_it_wrote_is_waited_for_and_then_no_more(server: MemoryServer) -> None:
    """As long as it might still be at it."""
    a, b = MemoryReplica(server, "a"), MemoryReplica(server, "b")
    await come(server, 5)
    await a.follow()
    await b.follow()

    async def die(name: str) -> None:
        if "put_chunk" in a.store.calls:
            raise StoreUnavailable("it is dead")

    a.store.before = die
    with pytest.raises(StoreUnavailable):
        await a.snapshotting.write(T, 1)
    assert a.store.calls[-2:] == ["put_chunk", "hold"]
    assert await b.snapshotting.write(T, 1) is None
    await elapse(HOLD_MS / 1000)
    assert await b.snapshotting.write(T, 1)


async def test_one_that_writes_nothing_keeps_nobody_waiting(server: MemoryServer) -> None:
    """The right to write is that to seed a lost log, too: it is given back whatever comes of it."""
    a, b = MemoryReplica(server, "a"), MemoryReplica(server, "b")
    await come(server, 5)
    await a.follow()
    await b.follow()
    a.store.fail_call(4)
    with pytest.raises(StoreUnavailable):
        await a.snapshotting.write(T, 1)
    a.store.come_back()
    await elapse(0.1)
    assert await b.snapshotting.write(T, 1)
    await elapse(0.1)
    assert await a.snapshotting.write(T, 1) is None, "it thought that one was due"
    await elapse(0.1)
    assert await b.store.snapshots.hold(T, "b", 1)


async def test_one_that_another_replica_has_written_is_not_written_again(server: MemoryServer) -> None:
    """A replica hears of it only when it asks, and then it must not be due any more."""
    a, b = MemoryReplica(server, "a"), MemoryReplica(server, "b")
    await come(server, 5)
    await b.follow()
    mark = await taken(server, a)
    await elapse(HOLD_MS / 1000)
    assert await b.snapshotting.write(T, 5) is None
    assert await marks(server) == [mark]


async def test_a_tenant_whose_replicas_differ_is_not_written(server: MemoryServer) -> None:
    """A wrong view in a snapshot would outlive the replica that holds it."""
    lane = MemoryReplica(server, "a")
    await come(server, 5)
    await lane.follow()
    lane.snapshotting.distrusted.add(T)
    assert await lane.snapshotting.write(T, 1) is None
    lane.snapshotting.distrusted.clear()
    assert await lane.snapshotting.write(T, 1)


async def test_a_chunk_that_went_away_leaves_no_mark(server: MemoryServer) -> None:
    """It would be found and believed to be complete."""
    lane = MemoryReplica(server, "a")
    await come(server, 5)
    await lane.follow()

    async def lose(name: str) -> None:
        if name == "put_mark":
            kept(server).chunks.clear()

    lane.store.before = lose
    assert await lane.snapshotting.write(T, 1) is None
    assert await marks(server) == []
    assert lane.snapshotting.stats.written == 0
    lane.store.come_back()
    assert await lane.snapshotting.write(T, 1)


async def test_it_goes_on_in_a_new_epoch(server: MemoryServer) -> None:
    """The sequence begins with 1 again: what was written in the old epoch must not be counted off."""
    lane = MemoryReplica(server, "a")
    await come(server, 20)
    await taken(server, lane)
    await come(server, 20, "x")
    await lane.follow()
    await cut(server, 30)
    await lane.look()
    assert lane.projector.mending.put_back == 11
    mark = await lane.snapshotting.write(T, 12)
    assert mark is not None
    assert mark.position == server.of(T).head
    await empty(server)
    await lane.look()
    # The log was seeded with a snapshot, which counts as the newest, and one event tells things again.
    await come(server, 11, "y")
    await lane.follow()
    assert await lane.snapshotting.write(T, 13) is None
    await come(server, 1, "z")
    await lane.follow()
    assert await lane.snapshotting.write(T, 13)
    assert digests(await restored(server)) == digests(lane.view)


async def test_a_replica_in_a_broken_epoch_writes_none(server: MemoryServer) -> None:
    """It has not heard of the new epoch yet; what it holds beyond the cut is not part of the log."""
    a, late = MemoryReplica(server, "a"), MemoryReplica(server, "late")
    await come(server, 50)
    await late.follow()
    await cut(server, 40)
    await a.follow()
    await late.store.add_tenant(T)
    mender = MemoryReplica(server, "mender")
    await mender.follow()
    server.of(T).head = Position(server.of(T).head.epoch + 1000, 0)  # as if mended: a later epoch has begun
    head = server.of(T).head
    await mender.store.commit(T, head.epoch, [])
    later = structs.replace(Mark(FORMAT, head.epoch, 1, 0, 0, b"", NOW))
    kept(server).marks[later.position] = later
    assert await late.snapshotting.write(T, 10) is None


async def test_a_place_that_the_log_has_lost_is_not_written(server: MemoryServer) -> None:
    """This replica has not noticed yet. A start from there would find that nothing follows, and call it damaged."""
    lane = MemoryReplica(server, "a")
    await come(server, 50)
    await lane.follow()
    await cut(server, 40)
    assert await lane.snapshotting.write(T, 10) is None
    await come(server, 20, "x")
    assert server.of(T).head > lane.view.position
    assert await lane.snapshotting.write(T, 10) is None, "another event stands there now"
    assert await marks(server) == []


async def test_a_snapshot_whose_place_is_lost_while_it_is_written_is_dropped(server: MemoryServer) -> None:
    """The store fails over in the middle of it."""
    lane = MemoryReplica(server, "a")
    await come(server, 50)
    await lane.follow()

    async def lose(name: str) -> None:
        if name == "put_mark":
            lane.store.come_back()
            await cut(server, 40)

    lane.store.before = lose
    assert await lane.snapshotting.write(T, 10) is None
    assert (await marks(server), kept(server).chunks) == ([], {})
    assert lane.snapshotting.stats.written == 0


async def test_an_event_that_a_later_version_has_written_is_no_place_for_one(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of an upgrade: this version cannot repeat its bytes, by which readers tell whose snapshot it is."""
    lane = MemoryReplica(server, "a")
    await come(server, 9)
    data = server.of(T)
    head, payload = data.events[-1]
    later = msgspec.msgpack.decode(payload) | {"unheard_of": 1}
    data.events[-1] = (head, msgspec.msgpack.encode(later))
    await lane.follow()
    assert await lane.snapshotting.write(T, 5) is None
    await come(server, 1, "x")
    await taken(server, lane)
    assert digests(await restored(server)) == digests(lane.view)
    assert "snapshot_unreadable" not in [record.__dict__.get("action") for record in caplog.records]


async def stray(server: MemoryServer, position: Position) -> Mark:
    """A snapshot that is not part of the log: its writer died before it could begin the epoch that the mark names."""
    store = MemoryStore(server)
    await store.snapshots.put_chunk(T, position, 0, b"stray")
    mark = Mark(FORMAT, position.epoch, position.sequence, 1, 5, b"digest", virtual_ms(), "dead")
    assert await store.snapshots.put_mark(T, mark)
    return mark


async def test_a_stray_snapshot_is_never_counted_among_those_that_are_kept(server: MemoryServer) -> None:
    """It stays newest for ever: the good ones would be dropped in its favour, and the log behind them."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 2))
    await come(server, 5)
    odd = await stray(server, Position(server.of(T).head.epoch + 1000, 1))
    written = []
    for number in range(3):
        await come(server, 5, f"v{number}-")
        written.append(await taken(server, lane))
    assert await marks(server) == [odd, written[2], written[1]], "it may be of a log that is being seeded just now"
    assert server.of(T).events[0][0] == written[1].position
    assert digests(await restored(server)) == digests(lane.view)
    await elapse(STRAY_KEPT_MS / 1000 + 1)
    await come(server, 10, "late")
    written.append(await taken(server, lane))
    assert await marks(server) == [written[3], written[2]]


async def test_a_snapshot_of_a_later_version_is_left_alone_and_not_counted_on(server: MemoryServer) -> None:
    """In the middle of an upgrade: this version cannot start from it, and has no business in dropping it."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 2))
    await come(server, 5)
    first = await taken(server, lane)
    await come(server, 5, "x")
    second = await taken(server, lane)
    later = structs.replace(second, format=FORMAT + 1)
    kept(server).marks[second.position] = later
    await come(server, 5, "y")
    third = await taken(server, lane)
    assert await marks(server) == [third, later, first]
    assert server.of(T).events[0][0] == first.position
    assert digests(await restored(server)) == digests(lane.view)


async def test_it_looks_after_every_tenant_and_goes_on_after_a_failure(server: MemoryServer) -> None:
    """One tenant's trouble, or a store that is away for a while, must not end the snapshots of all."""
    other = Tenant("other", "default")
    lane = MemoryReplica(server, "a", retention=Retention(5))
    await come(server, 5)
    await come(server, 5, tenant=other)
    await lane.follow()
    running = asyncio.create_task(lane.snapshotting.run())
    lane.store.go_away()
    await elapse(2 * LOOK_EVERY_S + 1)
    assert not running.done()
    lane.store.fail_call(0)
    await elapse(LOOK_EVERY_S)
    assert lane.snapshotting.stats.written == 1
    await elapse(LOOK_EVERY_S + 1)
    assert lane.snapshotting.stats.written == 2
    running.cancel()
    await asyncio.wait((running,))


@pytest.mark.parametrize("events", [EVENTS_AT_STOP - 1, EVENTS_AT_STOP])
async def test_a_replica_that_leaves_writes_what_is_worth_it(server: MemoryServer, events: int) -> None:
    """So that the next start is short."""
    lane = MemoryReplica(server, "a")
    await come(server, events - 1)
    await lane.follow()
    await lane.snapshotting.leave()
    assert lane.snapshotting.stats.written == (events >= EVENTS_AT_STOP)


async def test_a_replica_leaves_although_the_store_is_away(server: MemoryServer) -> None:
    """A stop is never held up by it, nor ended with an error."""
    lane = MemoryReplica(server, "a")
    await come(server, EVENTS_AT_STOP)
    await lane.follow()
    lane.store.go_away()
    await lane.snapshotting.leave()


async def test_a_stop_does_not_wait_for_a_store_that_hangs(server: MemoryServer) -> None:
    """With a thousand tenants the time limits of as many calls would add up to hours."""
    lane = MemoryReplica(server, "a")
    await come(server, EVENTS_AT_STOP)
    await lane.follow()
    lane.store.hang()
    began = virtual_ms()
    await lane.snapshotting.leave()
    assert virtual_ms() - began <= LEAVE_WITHIN_S * 1000
