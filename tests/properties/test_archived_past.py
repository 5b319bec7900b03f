"""What is in the archive is told as it was told from the log: of one microservice too, and with nothing left out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.archive import contents, segment
from registry.archive.deep_log import DeepLog
from registry.archive.folder import Folder
from registry.archive.names import Names, encode_names
from registry.clock import Clock
from registry.domain.events import (
    EVENT_TYPES,
    Event,
    HistoryResumed,
    InstanceStatusSet,
    InstanceUnregistered,
    ServiceUnregistered,
    encode_event,
)
from registry.domain.position import Position
from registry.domain.subjects import ANYTHING, OF_INSTANCES, name_of, subject_of
from registry.domain.tenant import DEFAULT_TENANT
from registry.history.choice import Choice
from registry.history.historian import Historian, PageQuery
from registry.history.moments import END, When
from registry.history.newest import NewestOf
from registry.history.past import Past
from registry.history.told import subject
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.upkeep import archiving
from registry.upkeep.archiving import Archiving, Limits
from tests.properties.test_past import fold, part_of, write
from tests.properties.test_snapshot import answers
from tests.replicas.test_archive import spoil_block
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp
from tests.support.memory_replica import run, virtual_ms
from tests.support.strategies import INSTANCE_IDS, SERVICE_IDS, events, logs

IDS = [(service_id, instance_id) for service_id in SERVICE_IDS for instance_id in INSTANCE_IDS]


right = segment.Head


def without_names(*values: Any, **named: Any) -> segment.Head:
    """As an earlier version wrote it; what is named is not looked for."""
    return right(*values, **{**named, "names": False})


@given(st.lists(events, max_size=30))
def test_a_segment_tells_of_all_that_its_events_name(some: list[Event]) -> None:
    names = Names(encode_names(map(encode_event, some)))
    assert len(names) == len({name_of(encode_event(event)) for event in some})
    for event in some:
        service_id, instance_id = subject(event)
        assert not service_id or names.tell_of(service_id, instance_id or "any")
        if isinstance(event, HistoryResumed):
            assert names.tell_of("any", "any")
    if not any(isinstance(event, HistoryResumed) for event in some):
        assert not names.tell_of("any", "any")


@given(events)
def test_the_subject_of_an_event_is_told_from_its_bytes(event: Event) -> None:
    service_id, _ = subject(event)
    payload = encode_event(event)
    expected = service_id if isinstance(event, OF_INSTANCES) else ""
    assert subject_of(payload) == (expected, event.at_ms)


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode({"type": "later", "at_ms": 1})])
def test_what_cannot_be_read_may_be_about_anything(payload: bytes) -> None:
    assert name_of(payload) == ANYTHING
    assert subject_of(payload)[0] == ""
    assert Names(encode_names([payload])).tell_of("any", "any")


def test_every_type_of_event_is_about_instances_or_not() -> None:
    """A new type has to be thought of: does it change the instances of its own microservice only?"""
    others = {type_.__name__ for type_ in EVENT_TYPES if type_ not in OF_INSTANCES}
    assert {name for name in others if "Instance" in name} == set()
    assert {type_.__name__ for type_ in OF_INSTANCES} == {
        *("InstanceRegistered", "InstanceUnregistered", "InstanceExpired"),
        *("InstanceStatusSet", "InstancePropertiesSet"),
    }


@given(logs(max_size=16), st.data())
def test_the_archived_past_is_that_of_the_log(log: list[Event], data: st.DataObject) -> None:
    """States of some microservices, pages of one, and why each instance is where it is: with segments of few events."""
    marked = data.draw(st.sets(st.integers(1, len(log)), min_size=1, max_size=4))
    longest, of_earlier_version = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    asked = data.draw(st.lists(st.integers(1, len(log)), min_size=1, max_size=4))
    read = data.draw(st.frozensets(st.sampled_from(SERVICE_IDS), max_size=2))

    async def main(root: Path) -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, marked)
        plain = Historian(Past(MemoryStore(server)), NewestOf(Past(MemoryStore(server)), 2))
        times = [END, *(When(position=placed[length - 1][0]) for length in (len(log), *asked))]
        expected = [await told(plain, when) for when in times]
        deep = await archived(server, root, placed[max(marked) - 1][0])
        past = Past(deep, is_silent=deep.is_silent)
        historian = Historian(past, NewestOf(past, 2))
        assert [await told(historian, when) for when in times] == expected
        for length in asked:
            seen = await past.seen(DEFAULT_TENANT, When(position=placed[length - 1][0]), read)
            assert part_of(seen.view, read) == part_of(fold(placed, length), read)
            found = await past.look(DEFAULT_TENANT, When(position=placed[length - 1][0]), answers, read)
            assert found == answers(fold(placed, length))

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(archiving, "SEGMENT_EVENTS_MAX", longest),
        patch.object(segment, "Head", without_names if of_earlier_version else right),
    ):
        run(lambda: main(Path(folder)))


async def archived(server: MemoryServer, root: Path, before: Position) -> DeepLog:
    """The log up to that place, at which there is a snapshot, goes to the archive."""
    store = MemoryStore(server)
    marks = await store.snapshots.marks(DEFAULT_TENANT)
    keeper = Archiving(store, Clock(virtual_ms, virtual_ms), "r", root, "", Limits(0, 1 << 30), 60_000)
    await keeper.archive(DEFAULT_TENANT, marks, before)
    for mark in marks:
        if mark.position < before:
            await store.snapshots.drop(DEFAULT_TENANT, mark)
    await store.snapshots.trim(DEFAULT_TENANT, before)
    return DeepLog(store, root, "")


def spoil_names(folder: Path) -> None:
    for path in folder.rglob("*.segment"):
        spoil_block(path, -1)


@pytest.mark.parametrize("leaves", ["alone", "with its microservice"])
@pytest.mark.parametrize("names", ["there", "absent", "damaged"])
def test_of_the_time_since_an_instance_left_nothing_is_read(tmp_path: Path, leaves: str, names: str) -> None:
    """Where segments say what their events name; where that is damaged, or not written, all of them are read."""
    gone: Event = InstanceUnregistered(service_id="s1", instance_id="a", **stamp()._asdict())
    if leaves != "alone":
        gone = ServiceUnregistered(service_id="s1", force=True, **stamp()._asdict())
    log: list[Event] = [
        *(service_registered(microservice(id), chosen=True) for id in ("s1", "s2")),
        *(instance_registered(instance(id, "a"), chosen=True) for id in ("s1", "s2")),
        gone,
        *(InstanceStatusSet(service_id="s2", instance_id="a", status="UP", **stamp()._asdict()) for _ in range(20)),
    ]

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, set(range(1, len(log) + 1)))
        deep = await archived(server, tmp_path, placed[-1][0])
        if names == "damaged":
            spoil_names(tmp_path)
        historian = Historian(Past(deep, is_silent=deep.is_silent), NewestOf(Past(deep), 1))
        with patch.object(Folder, "events", autospec=True, side_effect=Folder.events) as events:
            explained = await historian.explain(DEFAULT_TENANT, Choice("s1", "a"), END)
        assert explained.state == "left"
        assert explained.removal is not None
        assert explained.removal.position == placed[4][0].text()
        blocks = {call.args[1].name for call in events.call_args_list}
        assert (len(blocks) < 12) == (names == "there"), blocks
        assert deep.damaged(DEFAULT_TENANT) == []

    with (
        patch.object(archiving, "SEGMENT_EVENTS_MAX", 1),
        patch.object(contents, "EVENTS_APART", 1),
        patch.object(segment, "Head", without_names if names == "absent" else right),
    ):
        run(main)


async def told(historian: Historian, when: When) -> list[object]:
    found: list[object] = []
    for ids in IDS:
        explained = await historian.explain(DEFAULT_TENANT, Choice(*ids), when)
        found.append((explained.state, explained.sentence))  # how much of its life is told depends on what is at hand
    for service_id in SERVICE_IDS:
        for newest_first in (True, False):
            query = PageQuery(Choice(service_id), newest_first, until=when, limit=3)
            found.append(await historian.page(DEFAULT_TENANT, query))
    return found
