"""Recents: what a replica remembers of all logs, against a list from which the eldest is struck off again and again.

What is told from it - what a log has lost - is in test_history.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain.events import Event, HistoryResumed, encode_event
from registry.domain.position import Position
from registry.domain.recent import EVENT_OVERHEAD_BYTES, Recent, Remembered
from registry.domain.recents import Recents
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView
from tests.support.builders import microservice, service_registered
from tests.support.strategies import histories

A, B, C = (Tenant(name, "default") for name in "abc")
Added = tuple[Tenant, int]
EVENT = service_registered(microservice("s1"))


def written(size: int = 0, number: int = 1) -> bytes:
    """An event in that many bytes more."""
    return encode_event(structs.replace(EVENT, user_agent="-" * size, number=number))


@dataclass
class Kept:
    tenant: Tenant
    position: Position
    size: int
    #: After how many additions it was followed by another of its tenant.
    followed: int | None = None


class NaiveMemory:
    """All that was ever added in one list, added up and searched each time."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.kept: list[Kept] = []
        self.time = 0

    def add(self, tenant: Tenant, position: Position, size: int) -> None:
        self.time += 1
        for entry in self.kept:
            if entry.tenant == tenant and entry.followed is None:
                entry.followed = self.time
        self.kept.append(Kept(tenant, position, size + EVENT_OVERHEAD_BYTES))
        while self.size > self.bytes_max and any(entry.followed for entry in self.kept):
            self.kept.remove(min(self.kept, key=lambda entry: entry.followed or self.time + 1))

    def forget(self, tenant: Tenant) -> None:
        self.kept = [entry for entry in self.kept if entry.tenant != tenant]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.kept)

    def of(self, tenant: Tenant) -> list[Position]:
        return [entry.position for entry in self.kept if entry.tenant == tenant]


def positions(recents: Recents, tenant: Tenant) -> list[Position]:
    remembered = recents.of(tenant).all()
    assert all(position.sequence == event.number for position, event in remembered)
    assert recents.of(tenant).newest() == (remembered[-1] if remembered else None)
    return [position for position, _ in remembered]


def added(some: Iterable[Added], *memories: Recents | NaiveMemory) -> None:
    numbers = dict.fromkeys((A, B, C), 0)
    for tenant, size in some:
        numbers[tenant] += 1
        position = Position(7, numbers[tenant])
        for memory in memories:
            if isinstance(memory, Recents):
                memory.add(tenant, position, written(size, position.sequence))
            else:
                memory.add(tenant, position, len(written(size, position.sequence)))


SOME = st.lists(st.tuples(st.sampled_from((A, B, C)), st.integers(0, 5000)), max_size=30)


@given(SOME, st.integers(0, 40_000))
def test_what_is_eldest_anywhere_is_forgotten_first(some: list[Added], bytes_max: int) -> None:
    """Bytes are bounded whatever is written, and the newest event of each log stays: by it a view proves its place."""
    recents, naive = Recents(bytes_max), NaiveMemory(bytes_max)
    added(some, recents, naive)
    for tenant in (A, B, C):
        assert positions(recents, tenant) == naive.of(tenant)
    assert recents.size == naive.size
    newest = sum({tenant: len(written(size)) + EVENT_OVERHEAD_BYTES for tenant, size in some}.values())
    assert recents.size <= max(bytes_max, newest)


@given(st.lists(st.tuples(st.sampled_from((A, B, C)), SOME), max_size=4), SOME, st.integers(2000, 40_000))
def test_logs_that_are_forgotten_change_nothing_for_others(
    before: list[tuple[Tenant, list[Added]]], some: list[Added], bytes_max: int
) -> None:
    recents, naive = Recents(bytes_max), NaiveMemory(bytes_max)
    for tenant, additions in before:
        added(additions, recents, naive)
        recents.forget(tenant)
        naive.forget(tenant)
    added(some, recents, naive)
    assert [positions(recents, tenant) for tenant in (A, B, C)] == [naive.of(tenant) for tenant in (A, B, C)]
    assert recents.size == naive.size


@given(SOME, SOME, st.integers(0, 40_000))
def test_a_log_that_is_replayed_or_forgotten_leaves_nothing_behind(
    some: list[Added], tail: list[Added], bytes_max: int
) -> None:
    """Else each replay would take from what all may have."""
    recents, fresh, newest = Recents(bytes_max), Recents(bytes_max), Recent()
    added(some, recents)
    for number, (_, size) in enumerate(tail, 1):
        newest.add(Position(8, number), written(size, number))
        fresh.add(A, Position(8, number), written(size, number))
    for tenant in (A, B, C):
        recents.forget(tenant)
    assert recents.size == 0
    recents.reset(A, newest)
    recents.reset(A, newest)
    assert positions(recents, A) == positions(fresh, A)
    assert (recents.size, recents.of(A).log_bytes) == (fresh.size, newest.log_bytes)


@given(histories(), st.integers(1, 5))
def test_a_replica_remembers_the_newest_events_up_to_a_limit(placed: list[tuple[Position, Event]], most: int) -> None:
    """Memory is bounded, and what a store loses is its tail."""
    recent = Recent(most)
    assert recent.newest() is None
    for position, event in placed:
        recent.add(position, encode_event(event))
        assert recent.newest() == (position, event)
    assert recent.all() == [Remembered(*one) for one in placed[-most:]]
    assert (len(recent), recent.is_cut) == (min(most, len(placed)), len(placed) > most)
    kept = [one for one in placed[-most:] if not isinstance(one[1], HistoryResumed)]
    assert recent.lost(RegistryView(DEFAULT_TENANT), []) == kept


@given(st.lists(st.integers(0, 5000), min_size=1), st.integers(0, 20_000))
def test_the_newest_of_one_log_are_as_many_as_its_bytes_allow(sizes: list[int], bytes_max: int) -> None:
    recent = Recent(bytes_max=bytes_max)
    for number, size in enumerate(sizes, 1):
        recent.add(Position(7, number), written(size))
    kept = 1
    sizes = [len(written(size)) for size in sizes]
    while kept < len(sizes) and sum(size + EVENT_OVERHEAD_BYTES for size in sizes[-kept - 1 :]) <= bytes_max:
        kept += 1
    assert [len(one) for _, one in recent.written()] == sizes[-kept:]
    assert recent.log_bytes == sum(sizes)


@pytest.mark.parametrize("kept", [1, 3])
def test_bytes_of_a_log_begin_anew_with_each_epoch(kept: int) -> None:
    """They are what a log has grown by since a snapshot, on whichever replica."""
    recent = Recent(kept)
    for epoch, sequence, size in ((7, 1, 10), (7, 2, 20), (9, 1, 4), (9, 2, 5)):
        recent.add(Position(epoch, sequence), written(size))
    assert recent.log_bytes == len(written(4)) + len(written(5))


def test_what_an_event_says_is_not_kept_when_it_is_forgotten() -> None:
    """The one before the eldest is known by its name only: it may have been megabytes."""
    large, recent = written(5000), Recent(1)
    references = sys.getrefcount(large)
    recent.add(Position(7, 1), large)
    assert sys.getrefcount(large) > references
    recent.add(Position(7, 2), written())
    assert sys.getrefcount(large) == references
