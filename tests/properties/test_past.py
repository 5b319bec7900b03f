"""The past is what a naive fold of the log up to there makes of it, with snapshots anywhere."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Final
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain import sections as sections_module
from registry.domain import snapshot as snapshot_module
from registry.domain.clone import clone
from registry.domain.errors import BeforeHistory, InvalidParams
from registry.domain.events import Event, ServiceUnregistered, encode_event
from registry.domain.fold import apply
from registry.domain.instance_reads import InstanceQuery, list_instances
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.sections import SECTION_ROWS_MAX
from registry.domain.snapshot import take
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.unread import Part
from registry.domain.view import RegistryView
from registry.history import blocks as blocks_module
from registry.history import historian as historian_module
from registry.history.blocks import Block
from registry.history.cache import Kept, Views, weigh
from registry.history.choice import Choice, service_of
from registry.history.historian import PAGE_MAX_BYTES, Historian, PageQuery
from registry.history.moments import END, When, parse_when
from registry.history.newest import NewestOf
from registry.history.part_walk import NOTHING_READ, Read
from registry.history.past import Past
from registry.projection.saving import save
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.store.port import HistoryChanged, Tail
from tests.properties.test_snapshot import answers, assert_same, content
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp
from tests.support.memory_replica import append, run, virtual_ms
from tests.support.strategies import SERVICE_IDS, events, histories, logs

LATE_MS: Final = 4_000
some_moments = st.lists(st.integers(0, 6), min_size=1, max_size=6)


def fold(log: list[tuple[Position, Event]], length: int) -> RegistryView:
    view = RegistryView(DEFAULT_TENANT)
    for position, event in log[:length]:
        apply(view, position, event)
    return view


async def write(
    server: MemoryServer, log: list[Event], marked: set[int], taken_ms: int = 0
) -> list[tuple[Position, Event]]:
    """The log, with a snapshot behind each event of these numbers (from 1).

    Args:
        taken_ms: when that was; 0: at the moment of that place.
    """
    positions = await append(server, *log)
    placed = list(zip(positions, log, strict=True))
    store = MemoryStore(server)
    for number in sorted(marked):
        view, last = fold(placed, number), encode_event(log[number - 1])
        await save(store, DEFAULT_TENANT, view.position, take(view, last), taken_ms or view.moment_ms, "r1")
    return placed


@pytest.mark.parametrize("taken_ms", [1, 0, 10**12])
@pytest.mark.parametrize("read", [None, NOTHING_READ, frozenset({"s0"})])
def test_a_moment_is_told_from_the_snapshot_before_it_whenever_that_was_taken(taken_ms: int, read: Read) -> None:
    """A log that was imported, or written by clocks that are behind, has snapshots that were taken later than it."""
    comes = [instance_registered(instance("s0", f"i{n}"), chosen=True, at_ms=1_000 + n) for n in range(40)]
    log: list[Event] = [service_registered(microservice("s0", "cart"), chosen=True, at_ms=1_000), *comes]

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, set(range(5, 41, 5)), taken_ms)
        store = _Counted(server)
        for number in (7, 13, 14, 38):
            store.read_after.clear()
            seen = await Past(store).seen(DEFAULT_TENANT, When(log[number - 1].at_ms), read)
            assert seen.view.position == placed[number - 1][0]
            assert store.read_after[0].sequence == number // 5 * 5

    run(main)


class _Counted(MemoryStore):
    """`read_after`: behind which places it was read."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.read_after: list[Position] = []

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        self.read_after += after.values()
        return await super().read(after, tenants_after, block_ms, follow)


def test_on_the_way_states_are_kept_further_apart_where_more_would_be_copied() -> None:
    """An event is applied in the time in which some instances are copied."""
    comes = [instance_registered(instance("s0", f"i{number}"), chosen=True) for number in range(40)]
    log: list[Event] = [service_registered(microservice("s0", "cart"), chosen=True), *comes]

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        await write(server, log, set())
        past = Past(MemoryStore(server), Views(100), apart=4)
        await past.at(DEFAULT_TENANT, END)
        assert len(past.views) == len((4, 8, 12, 16, 20, 26, 34, 41)), "every four events it would be eleven"

    run(main)


@given(histories(max_size=12), st.lists(events, max_size=8))
def test_a_clone_goes_its_own_way(history: list[tuple[Position, Event]], more: list[Event]) -> None:
    """What was handed out as the past must not change with what comes after it."""
    view = RegistryView(DEFAULT_TENANT)
    for position, event in history:
        apply(view, position, event)
    copy, again = clone(view), clone(view)
    assert_same(copy, view)
    position = view.position
    for event in more:
        position = position.next()
        apply(copy, position, event)
    assert_same(view, again)
    for number, event in enumerate(more, view.position.sequence + 1):
        apply(view, Position(view.position.epoch, number), event)
    assert_same(copy, view)


@given(logs(max_size=14), st.data())
def test_every_position_shows_the_fold_of_what_was_before_it(log: list[Event], data: st.DataObject) -> None:
    """Asked in any order, with few views kept, before and after the log was trimmed."""
    marked = data.draw(st.sets(st.integers(1, len(log)), max_size=3))
    asked = data.draw(st.lists(st.integers(0, len(log)), min_size=1, max_size=8))
    kept, apart = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 6))

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, marked)
        past = Past(MemoryStore(server), Views(kept), apart)
        seen = []
        for length in asked:
            position = placed[length - 1][0] if length else ORIGIN
            view = await past.at(DEFAULT_TENANT, When(position=position))
            assert_same(view, fold(placed, length))
            seen.append((length, view))
        for length, view in seen:
            assert_same(view, fold(placed, length))
        await append(server, service_registered(microservice("later", "later")))
        trimmed_to = min(marked, default=0)
        if trimmed_to:
            await MemoryStore(server).snapshots.trim(DEFAULT_TENANT, placed[trimmed_to - 1][0])
        past = Past(MemoryStore(server), Views(kept), apart)
        for length in asked:
            when = When(position=placed[length - 1][0] if length else ORIGIN)
            if length < trimmed_to and trimmed_to > 1:
                with pytest.raises(BeforeHistory, match=rf"position \d+-{trimmed_to}\) on"):
                    await past.at(DEFAULT_TENANT, when)
            else:
                assert_same(await past.at(DEFAULT_TENANT, when), fold(placed, length))

    run(main)


@given(logs(max_size=14), st.data())
def test_a_part_of_every_place_is_what_the_fold_of_what_was_before_it_has_there(
    log: list[Event], data: st.DataObject
) -> None:
    """Of a moment or a position; with snapshots anywhere, and what was read before kept or not."""
    marked = data.draw(st.sets(st.integers(1, len(log)), max_size=3))
    some = st.frozensets(st.sampled_from(SERVICE_IDS), max_size=2)
    asked = data.draw(st.lists(st.tuples(st.integers(1, len(log)), some, st.booleans()), min_size=1, max_size=6))
    taken_ms = data.draw(st.sampled_from([0, 1, 10**12]))
    kept_least, read_max = data.draw(st.sampled_from([1, 1000])), data.draw(st.integers(1, 20))
    remembers = data.draw(st.booleans())
    rows_max = data.draw(st.sampled_from([1, 2, SECTION_ROWS_MAX]))

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, marked, taken_ms)
        past = Past(MemoryStore(server, read_max=read_max))
        for length, read, by_moment in asked:
            when = When(position=placed[length - 1][0])
            if by_moment:
                when = When(max(event.at_ms for event in log[:length]))
                reached = [max(event.at_ms for event in log[: n + 1]) for n in range(len(log))]
                length = sum(at_ms <= when.moment_ms for at_ms in reached)  # type: ignore[operator]  # it is given
            whole = fold(placed, length)
            if not remembers:
                past.forget()
            found = await past.look(DEFAULT_TENANT, when, answers, read)
            assert found == answers(whole)
            seen = await past.seen(DEFAULT_TENANT, when, read)
            assert seen.part is not None
            assert seen.part.read >= read
            assert seen.view.position == whole.position
            assert seen.view.moment_ms == whole.moment_ms
            assert part_of(seen.view, seen.part.read) == part_of(whole, seen.part.read)
            for query in map(InstanceQuery, whole.services):
                if not remembers:
                    past.forget()
                answer = await past.look(DEFAULT_TENANT, when, lambda view: list_instances(view, query), read)  # noqa: B023
                expected = list_instances(whole, query)
                assert (answer.rev, answer.body) == (expected.rev, expected.body)

    with (
        patch.object(blocks_module, "KEPT_LEAST", kept_least),
        patch.object(snapshot_module, "SECTION_ROWS_MAX", rows_max),
        patch.object(sections_module, "SECTION_ROWS_MAX", rows_max),
    ):
        run(main)


def part_of(view: RegistryView, read: frozenset[str]) -> object:
    """All that is in a view but the instances of other microservices than these, and what follows from them."""
    view = clone(view, Part(read, set()))
    view.instance_count = view.held_bytes = 0
    for service_id, row in view.services.items():
        if service_id not in read:
            row.changed = ORIGIN
    return content(view)


@given(logs(max_size=14), st.data())
def test_a_moment_shows_the_last_place_that_the_log_had_reached_by_then(log: list[Event], data: st.DataObject) -> None:
    """Writers' clocks disagree; what was at a moment does not change by what is written later."""
    marked = data.draw(st.sets(st.integers(1, len(log)), max_size=3))
    first = data.draw(st.integers(1, len(log)))
    moments = data.draw(st.lists(st.integers(900, LATE_MS), min_size=1, max_size=6))

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        await write(server, log[:first], {number for number in marked if number <= first})
        past = Past(MemoryStore(server), Views(2))
        early = [(await past.at(DEFAULT_TENANT, When(moment))).position for moment in moments]
        placed = await write_more(server, log, first, marked)
        for moment, before in zip(moments, early, strict=True):
            reached = [max(event.at_ms for event in log[: n + 1]) for n in range(len(log))]
            length = sum(at_ms <= moment for at_ms in reached)
            view = await past.at(DEFAULT_TENANT, When(moment))
            assert_same(view, fold(placed, length))
            if any(at_ms > moment for at_ms in reached[:first]):
                assert view.position == before, "the past has changed"

    run(main)


async def write_more(
    server: MemoryServer, log: list[Event], first: int, marked: set[int]
) -> list[tuple[Position, Event]]:
    await append(server, *log[first:])
    store = MemoryStore(server)
    epoch = (await store.head(DEFAULT_TENANT)).epoch
    placed = [(Position(epoch, number), event) for number, event in enumerate(log, 1)]
    for number in marked:
        if number > first:
            view, last = fold(placed, number), encode_event(log[number - 1])
            await save(store, DEFAULT_TENANT, view.position, take(view, last), view.moment_ms, "r1")
    return placed


@given(logs(max_size=14), st.data())
def test_pages_are_what_a_reader_of_the_whole_log_finds(log: list[Event], data: st.DataObject) -> None:
    """Newest first from what is remembered and from the log behind it, and oldest first, page by page."""
    marked = data.draw(st.sets(st.integers(1, len(log)), max_size=3))
    remembered, limit = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    service = data.draw(st.sampled_from(["", "s1", "s2"]))
    since = data.draw(st.none() | st.integers(900, LATE_MS))
    page_bytes = data.draw(st.just(PAGE_MAX_BYTES) | st.integers(1, 3000))
    choice = Choice(service_id=service)

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, marked)
        past = Past(MemoryStore(server), Views(2))
        historian = Historian(past, NewestOf(past, remembered))
        view, whole = RegistryView(DEFAULT_TENANT), []
        for position, event in placed:
            outcome = apply(view, position, event)
            in_time = since is None or view.moment_ms >= since
            if in_time and choice.takes(event, outcome, service_of(view, event, outcome)):
                whole.append(position.text())
        when = When(since) if since is not None else None
        for newest_first in (True, False):
            found: list[str] = []
            cursor: Position | None = None
            while True:
                before, after = (cursor, None) if newest_first else (None, cursor)
                query = PageQuery(choice, newest_first, when, after=after, before=before, limit=limit)
                page = msgspec.json.decode(await historian.page(DEFAULT_TENANT, query))
                found += [event["position"] for event in page["events"]]
                assert len(page["events"]) <= limit
                sizes = [len(msgspec.json.encode(event)) for event in page["events"]]
                assert sum(sizes[:-1]) <= page_bytes
                if not page["next"]:
                    break
                cursor = parse_position(page["next"])
            assert found == (whole[::-1] if newest_first else whole)
        for ids in (("s1", "i1"), ("s2", "i2")):
            lately = await historian.explain(DEFAULT_TENANT, Choice(*ids), END)
            by_all = await historian.explain(DEFAULT_TENANT, Choice(*ids), When(position=placed[-1][0]))
            assert (lately.state, lately.sentence) == (by_all.state, by_all.sentence)

    with patch.object(historian_module, "PAGE_MAX_BYTES", page_bytes):
        run(main)


@pytest.mark.parametrize("remembered", [1, 1000])
def test_a_page_of_large_events_takes_no_more_than_a_page(remembered: int) -> None:
    """However many of them there are, in what is remembered and in the log behind it."""

    async def peak(limit: int) -> int:
        server = MemoryServer(virtual_ms)
        body = {"p": "x" * 100_000}
        large = (service_registered(microservice(f"s{n}", f"n{n}", properties=body)) for n in range(100))
        await append(server, *large)
        past = Past(MemoryStore(server), Views(2))
        tracemalloc.start()
        try:
            await Historian(past, NewestOf(past, remembered)).page(DEFAULT_TENANT, PageQuery(Choice(), limit=limit))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    with patch.object(historian_module, "PAGE_MAX_BYTES", 300_000):
        least, most = run(lambda: peak(1)), run(lambda: peak(1000))
    assert most - least < 2_000_000


def test_a_merged_registration_is_found_under_both_ids() -> None:
    """Anyone who asks about the one that stayed wants to know who came, and the other way round."""

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        first, second = await append(server, *(service_registered(microservice(id, "cart")) for id in ("s1", "s2")))
        historian = Historian(Past(MemoryStore(server)))
        for service_id, expected in (("s1", [second, first]), ("s2", [second])):
            page = await historian.page(DEFAULT_TENANT, PageQuery(Choice(service_id=service_id)))
            found = [event["position"] for event in msgspec.json.decode(page)["events"]]
            assert found == [position.text() for position in expected]

    run(main)


def test_a_position_ahead_of_the_log_is_refused() -> None:
    async def main() -> None:
        server = MemoryServer(virtual_ms)
        position = (await append(server, service_registered(microservice("s1", "cart"))))[0]
        with pytest.raises(InvalidParams, match="is ahead of the log"):
            await Past(MemoryStore(server)).at(DEFAULT_TENANT, When(position=position.next()))

    run(main)


def test_a_lost_tail_is_not_told_as_the_past() -> None:
    """A store that was set back goes on with other events at the same positions."""

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        first, second = await append(server, *(service_registered(microservice(id, id)) for id in ("s1", "s2")))
        past = Past(MemoryStore(server))
        assert set((await past.at(DEFAULT_TENANT, When(position=second))).services) == {"s1", "s2"}
        data = server.of(DEFAULT_TENANT)
        data.events.pop()
        data.head = first
        await append(server, service_registered(microservice("s3", "s3")))
        assert set((await past.at(DEFAULT_TENANT, When(position=second))).services) == {"s1", "s3"}

    run(main)


@pytest.mark.parametrize("marked", [set(), {2}, {3}, {4}])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_done_with_instances_that_were_not_read_is_done_with_them(force: bool, marked: set[int]) -> None:
    """A microservice that has instances stays, and another one cannot take its name; if it has to go, they are told."""
    gone = ServiceUnregistered(service_id="s1", force=force, **stamp()._asdict())
    log: list[Event] = [
        service_registered(microservice("s1", "cart"), chosen=True),
        *(instance_registered(instance("s1", name, endpoints=[f"rest://{name}:1"]), chosen=True) for name in "ab"),
        service_registered(microservice("s3", "till"), chosen=True),
        gone,
        service_registered(microservice("s2", "cart"), chosen=True),
        instance_registered(instance("s2", "c"), chosen=True),
    ]

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, marked)
        whole = fold(placed, len(log))
        for read in (NOTHING_READ, frozenset({"s2"}), frozenset({"s3"})):
            past = Past(MemoryStore(server))
            seen = await past.seen(DEFAULT_TENANT, END, read)
            assert seen.part is not None
            assert part_of(seen.view, seen.part.read) == part_of(whole, seen.part.read)
            assert await past.look(DEFAULT_TENANT, END, answers, read) == answers(whole)
        page = await Historian(Past(MemoryStore(server))).page(DEFAULT_TENANT, PageQuery(Choice(service_id="s2")))
        told = [(event["kind"], event["effect"]) for event in msgspec.json.decode(page)["events"]]
        effect = "applied" if force else "refused"
        assert told == [("instance-registered", effect), ("service-registered", effect)]

    run(main)


def test_a_gap_in_the_log_is_not_passed_over() -> None:
    """Though what comes behind it is about instances that are not read."""

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        log: list[Event] = [service_registered(microservice(id, id), chosen=True) for id in ("s1", "s2")]
        log += [instance_registered(instance("s1", name), chosen=True) for name in "abc"]
        await write(server, log, set())
        del server.of(DEFAULT_TENANT).events[3]
        for read in (NOTHING_READ, frozenset({"s1"}), frozenset({"s2"}), None):
            with pytest.raises(HistoryChanged):
                await Past(MemoryStore(server)).seen(DEFAULT_TENANT, END, read)

    run(main)


@given(st.integers(0, 4), st.integers(0, 5), some_moments, some_moments)
def test_a_block_ends_where_a_reader_of_each_event_ends(
    start: int, number: int, told: list[int], asked: list[int]
) -> None:
    """Also behind a snapshot that tells no moment, as those of an early version."""
    events = [service_registered(microservice("s1"), at_ms=at_ms) for at_ms in told]
    block = Block([(Position(7, 10 + n), encode_event(event)) for n, event in enumerate(events)])
    start = min(start, len(told) - 1)
    moment_ms, limit_ms = asked[0], max(asked)
    when = When(limit_ms, Position(7, 10 + number))
    reached, stop = moment_ms, start
    moments = block.moments(start, moment_ms)
    while stop < len(told) and when.reaches(block.position(stop), max(reached, told[stop])):
        reached = max(reached, told[stop])
        assert max(moment_ms, moments[stop]) == reached
        stop += 1
    assert block.stop(start, moments, when) == stop


@pytest.mark.parametrize("marked", [set(), {1}, {2}])
def test_a_lost_tail_is_not_told_as_a_part_of_the_past(marked: set[int]) -> None:
    """Neither from a state that is kept, nor from a stretch of the log, nor from a snapshot of what was lost."""

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        log: list[Event] = [service_registered(microservice(id, id)) for id in ("s1", "s2", "s3")]
        placed = await write(server, log, marked)
        (first, _), (second, _), (third, _) = placed
        past = Past(MemoryStore(server))
        for position, read in ((third, frozenset({"s1"})), (second, NOTHING_READ)):
            assert len((await past.seen(DEFAULT_TENANT, When(position=position), read)).view.services) >= 2
        data = server.of(DEFAULT_TENANT)
        del data.events[1:]
        data.head = first
        await append(server, *(service_registered(microservice(id, id)) for id in ("s4", "s5", "s6")))
        for read in (frozenset({"s4"}), NOTHING_READ, frozenset({"s1"})):
            seen = await past.seen(DEFAULT_TENANT, When(position=third), read)
            assert set(seen.view.services) == {"s1", "s4", "s5"}

    with patch.object(blocks_module, "KEPT_LEAST", 1):
        run(main)


class LosingStore(MemoryStore):
    """Loses its newest event when it is read for the first time."""

    lost = False

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        if not self.lost:
            self.lost = True
            data = self._server.of(DEFAULT_TENANT)
            data.events.pop()
            data.head = Position(data.head.epoch, data.head.sequence - 1)
        return await super().read(after, tenants_after, block_ms, follow)


def test_a_tail_that_is_lost_while_it_is_read_is_not_told_as_the_past() -> None:
    """What was there before it would be told as what was at that place."""

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        services = [service_registered(microservice(id, id)) for id in ("s1", "s2")]
        _, second = await append(server, *services)
        with pytest.raises(InvalidParams, match="is ahead of the log"):
            await Past(LosingStore(server)).at(DEFAULT_TENANT, When(position=second))

    run(main)


@given(logs(max_size=14), st.integers(1, 5))
def test_states_are_kept_on_the_way_so_that_the_next_question_is_near(log: list[Event], apart: int) -> None:
    async def body() -> None:
        server = MemoryServer(virtual_ms)
        placed = await write(server, log, set())
        past = Past(MemoryStore(server), Views(), apart)
        await past.at(DEFAULT_TENANT, END)
        for number, (position, _) in enumerate(placed, 1):
            kept = past.views.nearest(DEFAULT_TENANT, When(position=position))
            assert number < apart or kept is not None
            if kept is not None:
                reached = kept.view.position.sequence - placed[0][0].sequence + 1
                assert number - reached < apart
                assert_same(kept.view, fold(placed, reached))

    run(body)


def test_states_that_are_large_are_not_kept_on_the_way() -> None:
    async def body() -> None:
        server = MemoryServer(virtual_ms)
        await write(server, [service_registered(microservice(f"s{number}")) for number in range(10)], set())
        views = Views(most_bytes=100_000)
        await Past(MemoryStore(server), views, 1).at(DEFAULT_TENANT, END)
        assert len(views) == 2, "the first one, which was small, and the one that was asked for"

    run(body)


@given(histories(max_size=12), st.integers(0, 4), st.integers(0, 40_000))
def test_views_are_kept_within_their_number_and_bytes(
    history: list[tuple[Position, Event]], most: int, most_bytes: int
) -> None:
    kept, view = Views(most, most_bytes), RegistryView(DEFAULT_TENANT)
    for position, event in history:
        view = clone(view)
        apply(view, position, event)
        kept.put(Kept(view, b""))
        assert len(kept) <= most
        assert kept.size <= most_bytes
        if most and weigh(Kept(view, b"")) <= most_bytes:
            found = kept.nearest(DEFAULT_TENANT, When(position=position))
            assert found is not None
            assert found.view is view
    kept.clear()
    assert (len(kept), kept.size) == (0, 0)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("0", When(0)),
        ("1764425000123", When(1764425000123)),
        ("1970-01-01T00:00:01Z", When(1000)),
        ("2026-11-29T14:03:07.250Z", When(1795960987250)),
        ("2026-11-29t15:03:07.250999+01:00", When(1795960987250)),
        ("7-3", When(position=Position(7, 3))),
    ],
)
def test_a_time_is_read_in_each_of_its_forms(text: str, when: When) -> None:
    assert parse_when(text, "asOf") == when


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "1.5",
        "2026-11-29",
        "2026-11-29T14:03:07",
        "2026-13-29T14:03:07Z",
        "7-",
        "1" * 16,
        "2026-11-29 14:03:07Z",
    ],
)
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParams, match="at query parameter `asOf`"):
        parse_when(text, "asOf")
