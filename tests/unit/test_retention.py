"""Retention: which snapshots stay, and how much of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.snapshot import FORMAT
from registry.store.memory_store import MemoryServer
from registry.upkeep.snapshotting import HISTORY_STEPS, Retention
from tests.support.memory_replica import VIRTUAL, MemoryReplica, cut, digests, virtual_ms
from tests.support.snapshots import NOW, T, come, kept, marks, restored, taken

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer(virtual_ms)


def naive_keep(retention: Retention, ages: Sequence[int]) -> tuple[int, int]:
    """How many of the newest must stay, and the index of the one to which history must reach back."""
    reach = next((n for n, age in enumerate(ages) if age >= retention.history_ms), len(ages) - 1)
    return min(retention.snapshots, len(ages)), reach


ages_of_marks = st.lists(st.integers(0, 2000), max_size=40).map(sorted)


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
    stay = retention.keep(given, NOW)
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
    assert retention.keep(stay, NOW) == stay, "what is kept is kept again"


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
