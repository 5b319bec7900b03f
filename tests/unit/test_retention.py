"""Retention: which snapshots stay, and how much of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.events import SchemaPut
from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.retention import BYTES_STEPS, HISTORY_STEPS, LEAST, Log, Retention
from registry.domain.snapshot import FORMAT
from registry.store.memory_server import MemoryServer
from registry.upkeep.snapshotting import LOOK_LEAST_S
from tests.support.builders import microservice, service_registered, stamp
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, cut, digests, elapse, virtual_ms
from tests.support.snapshots import NOW, T, come, kept, marks, restored, taken

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


def naive_keep(retention: Retention, ages: Sequence[int]) -> tuple[int, int]:
    """How many of the newest must stay, and the index of the one to which history must reach back."""
    reach = next((n for n, age in enumerate(ages) if age >= retention.history_ms), len(ages) - 1)
    return min(retention.snapshots, len(ages)), reach


#: A log of which nobody counted the bytes.
NO_BYTES = Log(Position(7, 1000), 0)
ages_of_marks = st.lists(st.integers(0, 2000), max_size=40).map(sorted)


def test_a_snapshot_with_which_a_log_may_have_been_seeded_stays_as_long_as_the_log_before_it() -> None:
    """It is the only way across: the log does not lead there."""
    retention = Retention(snapshots=1, history_ms=240_000)
    ages = [(7, 9, 0), (7, 5, 100), (7, 1, 200), (6, 8, 300), (6, 4, 400)]
    found = retention.keep([Mark(FORMAT, e, s, 1, 1, b"", NOW - age) for e, s, age in ages], NOW, NO_BYTES)
    assert [(mark.epoch, mark.sequence) for mark in found] == [(7, 9), (7, 1), (6, 4)]


@given(ages_of_marks, st.integers(1, 4), st.sampled_from([0, 1, 100, 400, 1500]), st.randoms())
@example([0, 10, 20, 500, 600], 2, 400, None)
def test_what_is_kept_is_the_newest_and_enough_for_the_history(
    ages: list[int], snapshots: int, history_ms: int, random: Any
) -> None:
    """Too little and the log no longer reaches back as far as was promised; too much and the store fills."""
    retention = Retention(snapshots=snapshots, history_ms=history_ms)
    all_marks = [Mark(FORMAT, 7, 1000 - n, 1, 1, b"", NOW - age) for n, age in enumerate(ages)]
    given = list(all_marks)
    if random is not None:
        random.shuffle(given)
    stay = retention.keep(given, NOW, NO_BYTES)
    assert stay == [mark for mark in all_marks if mark in stay], "newest first"
    if not ages:
        assert stay == []
        return
    newest, reach = naive_keep(retention, ages)
    assert stay[:newest] == all_marks[:newest]
    if history_ms == 0:
        assert len(stay) == newest
    # The log begins where the eldest that stays was taken.
    assert NOW - stay[-1].at_ms >= min(history_ms, ages[-1])
    assert all_marks.index(stay[-1]) <= max(reach, newest - 1) or NOW - stay[-2].at_ms < history_ms
    # Two steps of history are more than a step's length: so their number is bounded, however often they are written.
    for before, after in zip(stay[newest:], stay[newest + 2 :], strict=False):
        assert before.at_ms - after.at_ms > history_ms // HISTORY_STEPS
    assert len(stay) <= newest + 2 * HISTORY_STEPS + 2
    assert retention.keep(stay, NOW, NO_BYTES) == stay, "what is kept is kept again"


async def test_what_is_not_kept_is_dropped_with_its_log(server: MemoryServer) -> None:
    """The store holds two snapshots and the events since the elder, however long it all goes on."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 2))
    written = []
    for number in range(4):
        await come(server, 5, f"v{number}-")
        written.append(await taken(server, lane))
    assert await marks(server) == [written[3], written[2]]
    assert {position for position, _ in kept(server).chunks} == {mark.position for mark in written[2:]}
    assert server.of(T).events[0][0] == written[2].position
    assert lane.snapshotting.stats.trimmed == written[2].position.sequence - 1
    assert digests(await restored(server)) == digests(lane.view)


async def test_nothing_is_trimmed_before_there_are_as_many_as_are_kept(server: MemoryServer) -> None:
    """With one snapshot alone, and that one damaged, there would be no way to start."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 2))
    await come(server, 5)
    await taken(server, lane)
    assert server.of(T).events[0][0].sequence == 1


@pytest.mark.parametrize(("reader", "begins"), [(2, 2), (7, 7), (100, 11), (None, 11)])
async def test_the_log_stays_for_a_reader_that_is_behind(server: MemoryServer, reader: int | None, begins: int) -> None:
    """It needs the event at its place, to prove it after a break, and all that follow."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 2))
    if reader is not None:
        lane.snapshotting.readers[T] = {"b": Position(virtual_ms(), reader)}
    for number in range(2):
        await come(server, 5, f"v{number}-")
        await taken(server, lane)
    await come(server, 5, "y")
    await taken(server, lane)
    assert server.of(T).events[0][0].sequence == begins


async def test_a_reader_of_an_earlier_epoch_keeps_the_log(server: MemoryServer) -> None:
    """What it has not read of that epoch stands before everything in the newer one."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 1))
    await come(server, 9)
    await lane.follow()
    lane.snapshotting.readers[T] = {"b": Position(server.of(T).head.epoch, 4)}
    await cut(server, 6)
    await lane.look()
    await taken(server, lane)
    assert [position.sequence for position, _ in server.of(T).events][:4] == [4, 5, 6, 1]


async def test_what_agreement_hears_of_others_holds_the_log(server: MemoryServer) -> None:
    """The two parts meet here: a replica that says where it stands is waited for."""
    a, b = (MemoryReplica(server, name, retention=Retention(1, 1)) for name in "ab")
    await come(server, 5)
    await b.follow()
    await b.agreement.compare(T)
    await come(server, 5, "x")
    await a.follow()
    await a.agreement.compare(T)
    await taken(server, a)
    assert server.of(T).events[0][0] == b.view.position
    await b.follow()
    assert b.projector.stats().rebuilt == 0


# -- bytes -------------------------------------------------------------------------------------------------------------

logs = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 500)), min_size=1, max_size=20)


@given(logs, st.integers(0, 3000), st.integers(1, 5), st.sampled_from([0, 400, 100_000]))
def test_snapshots_stay_as_far_as_the_log_behind_them_may_be_long(
    steps: list[tuple[int, int]], most: int, snapshots: int, history_ms: int
) -> None:
    """Two of them always, for one may be damaged; more, or a longer history, only where there is room for the log."""
    marks, at_ms, log_bytes = [], NOW, 0
    for number, (ms, grown) in enumerate(steps, 1):
        at_ms, log_bytes = at_ms + ms, log_bytes + grown
        marks.append(Mark(FORMAT, 7, number, 1, 1, b"", at_ms, log_bytes=log_bytes))
    log = Log(marks[-1].position.next(), log_bytes + 7)
    kept = Retention(1, snapshots, history_ms, most).keep(marks, at_ms, log)
    unbounded = Retention(1, snapshots, history_ms, 10**9).keep(marks, at_ms, log)
    assert kept == unbounded[: len(kept)]
    sizes = [log.bytes - mark.log_bytes for mark in unbounded]
    assert all(size <= most for size in sizes[min(LEAST, snapshots) : len(kept)])
    if len(kept) < len(unbounded):
        assert len(kept) >= min(LEAST, snapshots)
        assert sizes[len(kept)] > most


@pytest.mark.parametrize(
    ("events", "size", "held", "due"),
    [
        (1, 99, 0, False),
        (1, 100, 0, True),
        (0, 100, 0, False),
        (1, 100, 101, False),
        (1, 100, 100, True),
        (5, 0, 10**9, True),
    ],
)
def test_a_snapshot_is_due_after_so_many_bytes_too(events: int, size: int, held: int, due: bool) -> None:
    """One event may have megabytes. It is to cost no more than what comes: with a large view it is due later."""
    mark = Mark(FORMAT, 7, 10, 1, 1, b"", NOW, log_bytes=1000)
    retention = Retention(5, log_bytes=100 * BYTES_STEPS)
    assert retention.is_due(Log(Position(7, 10 + events), 1000 + size), mark, 5, 0, held) == due
    assert retention.is_due(Log(Position(9, events), size), mark, 5, 0, held) == due, "in a new epoch"


async def overwrite(server: MemoryServer, size: int, times: int = 1) -> None:
    """The same schema again and again: the tenant holds no more for it, and its log grows."""
    if not server.of(T).events:
        await append(server, service_registered(microservice("cart"), chosen=True))
    for _ in range(times):
        put = SchemaPut(service_id="cart", schema_id="a", schema="x" * size, **stamp()._asdict())
        await append(server, put)


def size_of_log(server: MemoryServer) -> int:
    return sum(len(payload) for _, payload in server.of(T).events)


async def test_a_log_is_bounded_in_bytes(server: MemoryServer) -> None:
    """One schema overwritten again and again made it grow for ever."""
    limit = 400_000
    lane = MemoryReplica(server, "a", retention=Retention(10_000, 2, log_bytes=limit))
    for _ in range(60):
        await overwrite(server, 20_000)
        await lane.follow()
        await lane.snapshotting.look()
        assert size_of_log(server) <= limit
    assert len(await marks(server)) == 2
    assert lane.snapshotting.stats.written == 60 * 20_000 // (limit // BYTES_STEPS)
    assert digests(await restored(server)) == digests(lane.view)


async def test_a_log_that_grows_fast_is_looked_at_at_once(server: MemoryServer) -> None:
    """In the seconds until the next look some hundred megabytes come."""
    lane = MemoryReplica(server, "a", retention=Retention(10_000, 2, log_bytes=400_000))
    await lane.follow()
    running = asyncio.create_task(lane.snapshotting.run())
    await elapse(LOOK_LEAST_S + 0.01)
    await overwrite(server, 20_000, times=6)
    await lane.follow()
    await elapse(0.01)
    assert lane.snapshotting.stats.written == 1
    running.cancel()


async def test_what_cannot_be_written_is_not_tried_all_the_time(server: MemoryServer) -> None:
    """Another replica holds the right to: each news must not be another attempt."""
    lane = MemoryReplica(server, "a", retention=Retention(10_000, 2, log_bytes=400_000))
    await lane.store.snapshots.hold(T, "b", 60_000)
    running = asyncio.create_task(lane.snapshotting.run())
    for _ in range(20):
        await overwrite(server, 20_000)
        await lane.follow()
        await elapse(0.05)
    running.cancel()
    assert 0 < lane.store.calls.count("hold") <= 1 + 1 / LOOK_LEAST_S + 1


async def test_a_log_is_trimmed_as_soon_as_its_reader_has_come_on(server: MemoryServer) -> None:
    """Not when the next snapshot is due, which may be never."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 1))
    lane.snapshotting.readers[T] = {"b": Position(virtual_ms(), 2)}
    await come(server, 5)
    await taken(server, lane)
    assert server.of(T).events[0][0].sequence == 2
    lane.snapshotting.readers[T] = {"b": lane.view.position}
    await lane.snapshotting.look()
    assert server.of(T).events[0][0] == lane.view.position
    calls = lane.store.calls.count("trim")
    await lane.snapshotting.look()
    assert lane.store.calls.count("trim") == calls, "there is nothing left to trim"


async def test_every_replica_knows_how_large_the_log_is(server: MemoryServer) -> None:
    """Also one that was started from a snapshot: else each start would put the next one off."""
    a = MemoryReplica(server, "a", retention=Retention(1, 1))
    await overwrite(server, 1000, times=5)
    await taken(server, a)
    await overwrite(server, 500, times=3)
    b = MemoryReplica(server, "b")
    for lane in (a, b):
        await lane.follow()
    assert a.projector.log(T) == b.projector.log(T)
    assert a.projector.log(T).bytes > 6500
    (mark,) = await marks(server)
    assert b.projector.log(T).bytes_since(mark) == size_of_log(server) - len(server.of(T).events[0][1])


async def test_a_history_that_has_not_reached_back_far_enough_is_not_trimmed(server: MemoryServer) -> None:
    """A day was asked for: the first hour does not go with the second snapshot. Beyond its bytes it does."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 1, history_ms=86_400_000, log_bytes=50_000))
    for number in range(4):
        await come(server, 2, f"v{number}-")
        await taken(server, lane)
        await elapse(3600)
    assert server.of(T).events[0][0].sequence == 1
    await overwrite(server, 60_000, times=2)
    await taken(server, lane)
    assert server.of(T).events[0][0].sequence > 1
    assert digests(await restored(server)) == digests(lane.view)
