"""What a reader of the past remembers of a log that was lost meanwhile changes no answer of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain.errors import BeforeHistory, InvalidParams
from registry.domain.events import Event, HistoryResumed, encode_event
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import take
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from registry.history import blocks as blocks_module
from registry.history.moments import When
from registry.history.part_walk import NOTHING_READ, Read
from registry.history.past import Past
from registry.projection.saving import save
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from tests.properties.test_past import fold, part_of, write
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import append, cut, elapse, run, virtual_ms
from tests.support.strategies import SERVICE_IDS, events, logs

#: How a log goes on that has lost what was behind an event of it: by what is written; by what was lost, put back; from
#: a replica's memory; from that, and from what was written since.
WAYS: Final = ("written", "mended", "seeded", "merged")
#: After every event that Hypothesis makes, and at the times that it chooses for these.
LATE_MS: Final = 10_000

Asked = tuple[int, bool, Read]
reads: st.SearchStrategy[Read] = st.none() | st.frozensets(st.sampled_from(SERVICE_IDS), max_size=2)
questions = st.tuples(st.integers(0, 14), st.booleans(), reads)


def times(asked: Sequence[Asked], placed: list[tuple[Position, Event]]) -> list[tuple[When, Read]]:
    """Of each question about the n-th event: its position, or its moment."""
    found = []
    for number, by_moment, read in asked:
        position, event = placed[number % len(placed)]
        found.append((When(event.at_ms) if by_moment else When(position=position), read))
    return found


async def answer(past: Past, when: When, read: Read) -> object:
    """What is told of a time, or that nothing is."""
    try:
        seen = await past.long_ago(DEFAULT_TENANT, when, read)
    except (BeforeHistory, InvalidParams) as refusal:
        return type(refusal)
    part = (read or frozenset(SERVICE_IDS)) if seen.part is None or read is None else read
    return seen.view.position, seen.view.moment_ms, part_of(seen.view, part)


def tells_nothing(answer: object) -> bool:
    return answer is BeforeHistory or (isinstance(answer, tuple) and answer[0] == ORIGIN)


async def lose(server: MemoryServer, left: int) -> None:
    await cut(server, left)
    marks = server.of(DEFAULT_TENANT).snapshots.marks
    for position in [position for position in marks if position > server.of(DEFAULT_TENANT).head]:
        del marks[position]


async def resume(server: MemoryServer, after: str, mended: dict[int, int], *again: Event) -> None:
    """A new epoch, with what is put back."""
    store = MemoryStore(server)
    head = await store.head(DEFAULT_TENANT)
    await store.resume_history(DEFAULT_TENANT, head, virtual_ms(), resumed(after, mended, again))


async def seed(server: MemoryServer, held: RegistryView, after: str, mended: dict[int, int]) -> None:
    """As a replica does which holds this view."""
    store = MemoryStore(server)
    head, position = await store.head(DEFAULT_TENANT), Position(virtual_ms(), 1)
    payloads = resumed(after, mended, ())
    await save(store, DEFAULT_TENANT, position, take(held, payloads[0], position, LATE_MS), LATE_MS, "r")
    await store.resume_history(DEFAULT_TENANT, head, position.epoch, payloads, seeded=True)


def resumed(after: str, mended: dict[int, int], again: Sequence[Event]) -> list[bytes]:
    first = HistoryResumed(at_ms=LATE_MS, replica="r", number=0, actor="registry", after=after, mended=mended)
    return [encode_event(event) for event in (first, *again)]


async def go_on(server: MemoryServer, way: str, held: RegistryView, lost: Sequence[Event], more: list[Event]) -> None:
    mended = {held.position.epoch: held.position.sequence}
    left = server.of(DEFAULT_TENANT).head
    if way == "mended":
        await resume(server, left.text(), mended, *lost)
    elif way == "seeded":
        await seed(server, held, held.position.text(), {})
    if more and way != "seeded":
        at_ms = {} if left != ORIGIN else {"at_ms": LATE_MS}  # nobody's clock says that it was before what was lost
        await append(server, *(structs.replace(event, replica="another", **at_ms) for event in more))
    if way == "merged":
        await elapse(1)
        await seed(server, held, "", mended)


def service(id: str, at_ms: int) -> Event:
    return service_registered(microservice(id, id), chosen=True, at_ms=at_ms)


def came(id: str, at_ms: int) -> Event:
    return instance_registered(instance("s1", id), chosen=True, at_ms=at_ms)


@given(
    logs(max_size=10),
    st.sets(st.integers(1, 12), max_size=2),
    st.lists(questions, min_size=1, max_size=5),
    st.lists(questions, min_size=1, max_size=5),
    st.integers(0, 12),
    st.sampled_from(WAYS),
    st.lists(events.filter(lambda event: not isinstance(event, HistoryResumed)), min_size=1, max_size=3),
    st.sampled_from([1, 1000]),
)
@example(  # a state that is remembered, and then a moment that was reached by what came behind it
    [service("s1", 1000), service("s2", 1001), service("s3", 1002), came("a", 1003)],
    set(),
    [(1, False, NOTHING_READ)],
    [(2, True, NOTHING_READ)],
    0,
    "seeded",
    [],
    1000,
)
@example(  # a stretch of the log that is remembered, with a tail that was lost
    [service("s1", 1000), service("s2", 1001), came("a", 1002), came("b", 1003)],
    set(),
    [(0, False, NOTHING_READ), (3, False, NOTHING_READ)],
    [(2, False, NOTHING_READ)],
    1,
    "mended",
    [],
    1,
)
def test_what_is_remembered_of_a_lost_log_changes_no_answer(
    log: list[Event],
    marked: set[int],
    before: list[Asked],
    after: list[Asked],
    left: int,
    way: str,
    more: list[Event],
    kept_least: int,
) -> None:
    """It is told what one is told who remembers nothing; or what was told before, where nothing else tells it."""

    async def main() -> None:
        await elapse(1)
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, {number for number in marked if number <= len(log)})
        past = Past(MemoryStore(server))
        for when, read in times(before, placed):
            await answer(past, when, read)
        told = [await answer(Past(MemoryStore(server)), when, read) for when, read in times(after, placed)]
        await lose(server, left)
        await go_on(server, way if left or way != "mended" else "seeded", fold(placed, len(log)), log[left:], more)
        for (when, read), was in zip(times(after, placed), told, strict=True):
            expected = await answer(Past(MemoryStore(server)), when, read)
            found = await answer(past, when, read)
            assert found == expected or (found == was and tells_nothing(expected))

    with patch.object(blocks_module, "KEPT_LEAST", kept_least):
        run(main)


@pytest.mark.parametrize("way", ["seeded", "merged"])
@pytest.mark.parametrize("read", [None, NOTHING_READ, frozenset({"s1"})])
def test_what_was_before_an_emptied_log_is_not_said_never_to_have_been(way: str, read: Read) -> None:
    """Also where replicas wrote to it before one that remembers more put its memory there."""
    log = [service("s1", 1000), came("a", 1001)]

    async def main() -> None:
        await elapse(1)
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, set())
        await lose(server, 0)
        await go_on(server, way, fold(placed, 2), log, [service("s2", 3000)])
        past = Past(MemoryStore(server))
        for when in (When(1000), When(position=placed[0][0])):
            with pytest.raises(BeforeHistory):
                await past.long_ago(DEFAULT_TENANT, when, read)
        assert (await past.kept_from(await past.begins(DEFAULT_TENANT))).position != ORIGIN

    run(main)
