"""Restoring: a start finds its way to the newest good snapshot, past those that cannot be read or trusted."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain.events import Event, encode_event
from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.retention import Retention
from registry.domain.snapshot import FORMAT, take
from registry.domain.view import RegistryView
from registry.projection.restoring import restore
from registry.projection.saving import save
from registry.store.damage import Damaged
from registry.store.memory_server import MemoryServer
from registry.store.memory_snapshots import SnapshotData
from registry.store.memory_store import MemoryStore
from tests.support.memory_replica import VIRTUAL, FlakyStore, MemoryReplica, cut, digests, elapse, run, virtual_ms
from tests.support.oracle import Oracle, assert_same
from tests.support.snapshots import NOW, T, come, kept, marks, restored, taken
from tests.support.strategies import histories

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@given(histories(), st.lists(st.integers(0, 20), max_size=3), st.integers(0, 20))
def test_the_newest_good_snapshot_and_what_follows_is_the_whole_log(
    history: list[tuple[Position, Event]], points: list[int], trimmed: int
) -> None:
    """A start from a snapshot must give the view that a replay from the first event gives, in every byte."""
    history = _linked(history)

    async def restart() -> tuple[RegistryView, RegistryView]:
        server = MemoryServer(virtual_ms)
        data = server.of(T)
        whole = MemoryReplica(server, "whole")
        await whole.store.add_tenant(T)
        for number, (position, event) in enumerate(history, 1):
            data.events.append((position, encode_event(event)))
            data.head = position
            if number in points:
                await whole.follow()
                assert await save(whole.store, T, position, take(whole.view, encode_event(event)), NOW, "w")
        await whole.follow()
        first = min((mark.position for mark in await marks(server)), default=ORIGIN)
        server.trim(T, min(first, history[min(trimmed, len(history) - 1)][0]))
        return whole.view, await restored(server)

    whole, view = run(restart)
    oracle = Oracle()
    for position, event in history:
        oracle.apply(position, event)
    assert_same(view, oracle)
    assert digests(view) == digests(whole)
    assert (view.position, view.lineage, view.rest_changed) == (whole.position, whole.lineage, whole.rest_changed)
    assert {id: row.changed for id, row in view.services.items()} == {
        id: row.changed for id, row in whole.services.items()
    }


def _linked(history: list[tuple[Position, Event]]) -> list[tuple[Position, Event]]:
    """Each `HistoryResumed` names the position before it, as the log that was followed has it."""
    linked: list[tuple[Position, Event]] = []
    for position, event in history:
        if position.sequence == 1 and linked and hasattr(event, "after"):
            event = structs.replace(event, after=linked[-1][0].text())
        linked.append((position, event))
    return linked


def _damage(data: SnapshotData, mark: Mark) -> None:
    data.chunks[mark.position, 0] = data.chunks[mark.position, 0][:-9] + b"damaged!!"


def _lose(data: SnapshotData, mark: Mark) -> None:
    del data.chunks[mark.position, mark.chunks - 1]


def _exchange(data: SnapshotData, mark: Mark) -> None:
    """A chunk that can be read, and is of another snapshot."""
    data.chunks[mark.position, 0] = data.chunks[min(data.marks), 0]


def _repack(data: SnapshotData, mark: Mark) -> None:
    """The same content in other bytes: it is not what the mark was made for."""
    data.chunks[mark.position, 0] = zlib.compress(zlib.decompress(data.chunks[mark.position, 0]), 9)


def _misplace(data: SnapshotData, mark: Mark) -> None:
    """The mark names a place that the snapshot does not."""
    del data.marks[mark.position]
    moved = structs.replace(mark, sequence=mark.sequence - 1)
    data.marks[moved.position] = moved
    data.chunks[moved.position, 0] = data.chunks.pop((mark.position, 0))


def _forge(data: SnapshotData, mark: Mark) -> None:
    data.marks[mark.position] = structs.replace(mark, digest=b"0" * 20)


def _of_the_future(data: SnapshotData, mark: Mark) -> None:
    data.marks[mark.position] = structs.replace(mark, format=FORMAT + 1)


@pytest.mark.parametrize("harm", [_damage, _lose, _exchange, _repack, _misplace, _forge, _of_the_future])
async def test_a_snapshot_that_cannot_be_trusted_is_passed_over(
    server: MemoryServer, harm: Callable[[SnapshotData, Mark], None], caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning, for the next older one: a start must neither fail for it nor believe it."""
    lane = MemoryReplica(server, "a")
    await come(server, 5)
    await taken(server, lane)
    await come(server, 5, "x")
    newer = await taken(server, lane)
    await come(server, 3, "y")
    await lane.follow()
    harm(kept(server), newer)
    store = FlakyStore(server)
    view = (await restore(store, T, "r")).view
    assert digests(view) == digests(lane.view)
    assert view.position == lane.view.position
    (line,) = [r for r in caplog.records if r.__dict__.get("action") == "snapshot_unreadable"]
    assert line.levelname == "WARNING"


async def test_a_snapshot_of_another_log_is_passed_over(server: MemoryServer, caplog: pytest.LogCaptureFixture) -> None:
    """A log that lost its tail and grew past the snapshot holds another event where it was taken."""
    lane = MemoryReplica(server, "a")
    await come(server, 5)
    await taken(server, lane)
    await cut(server, 4)
    await come(server, 5, "x")
    view = await restored(server)
    assert sorted(view.services["cart"].instances) == ["w0", "w1", "w2", "x0", "x1", "x2", "x3", "x4"]
    assert "another event" in caplog.text


async def test_a_snapshot_beyond_the_end_of_the_log_is_not_used(server: MemoryServer) -> None:
    """The log lost what the snapshot holds: to load it would be to claim a place that is not there."""
    lane = MemoryReplica(server, "a")
    await come(server, 5)
    await taken(server, lane)
    await cut(server, 4)
    assert (await restored(server)).position == server.of(T).head


@pytest.mark.parametrize("snapshots", [0, 1])
async def test_a_trimmed_log_without_a_readable_snapshot_is_damaged(server: MemoryServer, snapshots: int) -> None:
    """The operator is told what is missing; a view with holes is never served."""
    lane = MemoryReplica(server, "a")
    await come(server, 5)
    if snapshots:
        _damage(kept(server), await taken(server, lane))
    server.trim(T, Position(server.of(T).head.epoch, 4))
    with pytest.raises(Damaged, match=r"goes on at \d+-4, and no snapshot .* the newest ends at 0-0"):
        await restored(server)


async def test_an_event_that_cannot_be_read_is_named(server: MemoryServer) -> None:
    """A log of a later version: the place and the reason, not a traceback of a decoder."""
    await come(server, 2)
    head = server.of(T).head
    server.of(T).events[1] = (Position(head.epoch, 2), b"\x80")
    with pytest.raises(Damaged, match=r"entry \d+-2: it cannot be read"):
        await restored(server)


async def aged(server: MemoryServer, lane: MemoryReplica) -> tuple[Mark, Mark]:
    """Two snapshots, a minute apart."""
    await come(server, 5)
    older = await taken(server, lane)
    await elapse(60)
    await come(server, 5, "x")
    return older, await taken(server, lane)


async def test_a_replay_from_before_a_moment_uses_an_older_snapshot(server: MemoryServer) -> None:
    """What is to be healed may stand in the newest one."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 5))
    older, newer = await aged(server, lane)
    server.of(T).snapshots.chunks.pop((newer.position, 0))  # it would be missed
    tail = (await restore(FlakyStore(server), T, "r", newer.at_ms)).tail.all()
    assert tail[0].position == older.position
    tail = (await restore(FlakyStore(server), T, "r", older.at_ms)).tail.all()
    assert tail[0].position.sequence == 1


async def test_a_replay_from_before_a_moment_takes_the_newest_where_no_older_one_reaches(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log is trimmed behind the eldest snapshot: better that one than none."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 5))
    older, newer = await aged(server, lane)
    server.trim(T, newer.position)
    await lane.projector.rebuild(T, "a test", older.at_ms)
    assert digests(lane.view) == digests(await restored(server))
    assert "no snapshot that is old enough" in caplog.text


async def test_a_snapshot_that_comes_while_the_log_is_replayed_is_found(server: MemoryServer) -> None:
    """Another replica writes one and trims just then: a replica that starts or rebuilds would set the tenant aside."""
    lane = MemoryReplica(server, "a", retention=Retention(1, 1))
    await come(server, 5)
    await lane.follow()
    store = FlakyStore(server)

    async def trim(name: str) -> None:
        if name == "read":
            store.come_back()
            await come(server, 5, "x")
            await taken(server, lane)

    store.before = trim
    assert digests((await restore(store, T, "r")).view) == digests(lane.view)


async def test_a_log_is_restored_from_the_store_in_memory(server: MemoryServer) -> None:
    """The fake must be read from as Redis is, or what is tested with it proves nothing."""
    await come(server, 2)
    assert (await restore(MemoryStore(server), T, "r")).view.instance_count == 2
