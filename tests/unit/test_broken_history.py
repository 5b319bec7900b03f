"""A history that was broken by a loss: it is told as far as it can be, and what cannot be is said not to be kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.archive.deep_log import DeepLog
from registry.archive.folder import Folder
from registry.archive.segment import encode_events, encode_snapshot
from registry.domain.clone import clone
from registry.domain.errors import BeforeHistory
from registry.domain.events import HistoryResumed, encode_event
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import take
from registry.domain.view import RegistryView
from registry.history.choice import Choice
from registry.history.historian import Historian
from registry.history.moments import END, When
from registry.history.past import Past
from registry.projection.saving import save
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from tests.support.memory_replica import VIRTUAL, MemoryReplica, cut
from tests.support.snapshots import NOW, T, come, kept, marks, taken

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


def names(view: RegistryView) -> set[str]:
    return {instance for row in view.services.values() for instance in row.instances}


async def seeded(server: MemoryServer, view: RegistryView) -> Position:
    """The log goes on in a new epoch with this state, and not with what it led to itself."""
    store, head = MemoryStore(server), server.of(T).head
    position = Position(head.epoch + 1000, 1)
    resumed = HistoryResumed(at_ms=NOW, replica="r", number=0, actor="registry", after="", mended={})
    await save(store, T, position, take(view, encode_event(resumed), position, NOW), NOW, "r")
    await store.resume_history(T, head, position.epoch, [encode_event(resumed)], seeded=True)
    return position


async def test_history_is_told_across_the_place_where_a_log_was_seeded(server: MemoryServer) -> None:
    """Behind it stands what it was seeded with; before it what the log had led to, which is no less true."""
    await come(server, 3)
    before = server.of(T).head
    await seeded(server, RegistryView(T, before))
    await come(server, 1, "later")
    past = Past(MemoryStore(server))
    assert names(await past.at(T, When(position=before))) == {"w0", "w1", "w2"}
    assert names(await past.at(T, END)) <= {"later0"}
    walk = await past.walker(T, When(position=ORIGIN))
    kinds = [type(applied.event).__name__ async for applied in walk.until(END)]
    assert kinds.count("HistoryResumed") == 1
    assert len(kinds) == len(server.of(T).events)


async def test_an_instance_that_a_log_goes_on_without_has_left(server: MemoryServer) -> None:
    """No event tells of it but the one with which the log was seeded: `never seen` would be a lie."""
    await come(server, 3)
    lane = MemoryReplica(server, "a")
    await lane.follow()
    service_id, without = next(iter(lane.view.services)), clone(lane.view)
    without.services[service_id].instances.pop("w1")
    place = await seeded(server, without)
    await come(server, 1, "later")
    historian = Historian(Past(MemoryStore(server)))
    for when in (END, When(position=place)):
        left = await historian.explain(T, Choice(service_id, "w1"), when)
        assert (left.state, left.removal and left.removal.position) == ("left", place.text())
        assert "the log had lost events and was put together again" in left.sentence
        assert (await historian.explain(T, Choice(service_id, "w2"), when)).state == "present"


async def test_what_leads_nowhere_is_said_not_to_be_kept(server: MemoryServer) -> None:
    """The snapshot that a log was seeded with is gone: what stands before it must not be taken to lead on."""
    lane = MemoryReplica(server, "a")
    await come(server, 3)
    before = server.of(T).head
    place = await seeded(server, RegistryView(T, before))
    await come(server, 1, "later")
    await lane.follow()
    newer = await taken(server, lane)
    data = kept(server)
    data.marks.pop(place)
    past = Past(MemoryStore(server))
    assert (await past.at(T, END)).position == newer.position
    with pytest.raises(BeforeHistory) as told:
        await past.at(T, When(position=place))
    assert newer.position.text() in told.value.detail


async def test_nothing_is_trimmed_up_to_a_snapshot_that_was_lost(server: MemoryServer) -> None:
    """A reader was behind when the log was to be trimmed; meanwhile the log fell back to before that snapshot."""
    lane = MemoryReplica(server, "a")
    await come(server, 50)
    mark = await taken(server, lane)
    lane.snapshotting.readers[T] = {"late": Position(mark.epoch, 5)}
    await lane.snapshotting._trim(T, mark.position)  # as after a snapshot; `look` does it again
    assert server.of(T).events[0][0].sequence == 5
    kept(server).marks.pop(mark.position)
    await cut(server, 40)
    lane.snapshotting.readers[T] = {}
    await lane.snapshotting.look()
    assert [position.sequence for position, _ in server.of(T).events][:2] == [5, 6]


async def test_the_archive_tells_nothing_that_the_log_has_lost(server: MemoryServer, tmp_path: Path) -> None:
    """It may hold more than a store that fell back; what the store holds instead is what there is."""
    await come(server, 10)
    lane = MemoryReplica(server, "a")
    mark = await taken(server, lane)
    folder = Folder(tmp_path, "", T)
    folder.put(encode_events(T, ORIGIN, list(server.of(T).events)), "a")
    chunks = [kept(server).chunks[mark.position, index] for index in range(mark.chunks)]
    folder.put(encode_snapshot(T, mark, chunks), "a")
    archived = list(server.of(T).events)
    kept(server).marks.clear()
    await cut(server, 4)
    await come(server, 2, "instead")
    log = DeepLog(MemoryStore(server), tmp_path, "")
    assert await log.snapshots.marks(T) == []
    assert await log.entry(T, archived[-1][0]) is None
    past = Past(log)
    head = server.of(T).head
    assert names(await past.at(T, END)) >= {"instead0", "instead1"}
    assert (await past.at(T, END)).position == head
    assert await marks(server) == []
