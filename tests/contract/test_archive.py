"""What is archived and trimmed is told as it was before, also across the places where a log was seeded from memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from registry.archive.contents import Contents
from registry.archive.deep_log import DeepLog
from registry.archive.folder import Folder
from registry.clock import Clock
from registry.domain import snapshot
from registry.domain.errors import BeforeHistory
from registry.domain.events import Event, HistoryResumed, encode_event
from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import take
from registry.domain.tenant import DEFAULT_TENANT as T
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.choice import Choice
from registry.history.historian import Historian, PageQuery
from registry.history.moments import END, When
from registry.history.part_walk import NOTHING_READ
from registry.history.past import Past
from registry.history.snapshots import Snapshots
from registry.projection.saving import save
from registry.store.lease import Write
from registry.store.port import PastLog, Store
from registry.upkeep.archiving import ArchiveFailed, Archiving, Limits
from tests.contract.worlds import World
from tests.properties.test_past import part_of
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import digests, restamped

#: ms between two events.
STEP_MS = 1000
NOW_MS = 1_700_000_000_000
HOLD_MS = 60_000
DAY_MS = 86_400_000


class Scene:
    """A log that is written, seeded, archived and trimmed by hand."""

    def __init__(self, world: World, store: Store, root: Path) -> None:
        self.world, self.store, self.root = world, store, root
        self._numbers = count(1)

    @classmethod
    async def of(cls, world: World, root: Path) -> Scene:
        scene = cls(world, await world.connect(), root)
        await scene.write([service_registered(microservice("cart"), chosen=True)])
        return scene

    def deep(self) -> DeepLog:
        return DeepLog(self.store, self.root, "p")

    def moment(self) -> int:
        return NOW_MS + next(self._numbers) * STEP_MS

    async def write(self, events: Sequence[Event]) -> None:
        head = await self.store.head(T)
        stamped = [restamped([event], "w", self.moment())[0] for event in events]
        await self.store.commit(T, head.epoch, [Write(encode_event(event)) for event in stamped], head.sequence)

    async def come(self, *names: str) -> None:
        await self.write([instance_registered(instance("cart", name), chosen=True) for name in names])

    async def view(self) -> RegistryView:
        return await Past(self.store).at(T, END)

    async def snapshot(self) -> Mark:
        """Of what the log holds now."""
        view = await self.view()
        last = await self.store.entry(T, view.position)
        assert last is not None
        mark = await save(self.store, T, view.position, take(view, last), view.moment_ms, "r")
        assert mark is not None
        return mark

    async def seed(self, view: RegistryView, after: str = "") -> Position:
        """As a replica does which holds this view."""
        head, at_ms = await self.store.head(T), self.moment()
        position = Position(max(head.epoch, view.position.epoch) + 1000, 1)
        resumed = HistoryResumed(at_ms=at_ms, replica="r", number=0, actor="registry", after=after, mended={})
        last = encode_event(resumed)
        await save(self.store, T, position, take(view, last, position, at_ms), at_ms, "r")
        await self.store.resume_history(T, head, position.epoch, [last], seeded=True)
        return position

    async def archive(self, before: Position, kept_ms: int = 0) -> None:
        marks = await self.store.snapshots.marks(T)
        clock = Clock(lambda: NOW_MS + DAY_MS, lambda: NOW_MS + DAY_MS)
        await Archiving(self.store, clock, "r", self.root, "p", Limits(kept_ms, 1 << 30), HOLD_MS).archive(
            T, marks, before
        )

    async def trim(self, before: Position) -> None:
        await self.archive(before)
        for mark in await self.store.snapshots.marks(T):
            if mark.position < before:
                await self.store.snapshots.drop(T, mark)
        await self.cut(before)

    async def cut(self, before: Position) -> None:
        """Drop the events before a place."""
        await self.store.snapshots.trim(T, before)
        eldest = await self.store.eldest(T)
        if eldest is not None and eldest[0] < before:
            # Redis drops whole parts of a stream only.
            for position, _ in (await self.store.read({T: ORIGIN}, None, 0)).events[T]:
                if position < before:
                    await self.world.delete_entry(T, position)


@pytest.fixture
async def scene(world: World, tmp_path: Path) -> Scene:
    return await Scene.of(world, tmp_path)


async def answers(log: PastLog) -> list[object]:
    """What is told of each place and each moment, and page by page in both directions."""
    past = Past(log)
    told: list[object] = []
    positions = [Position(0, 0)]
    walk = await past.walker(T, When(position=ORIGIN))
    positions += [applied.position async for applied in walk.until(END)]
    last = walk.view.moment_ms
    for when in [When(position=p) for p in positions] + [When(ms) for ms in range(NOW_MS, last, STEP_MS // 2)]:
        view = await Past(log).at(T, when)
        told.append((view.position, view.moment_ms, digests(view)))
        for read in (NOTHING_READ, frozenset({"cart"})):
            seen = await Past(log).seen(T, when, read)
            assert part_of(seen.view, read) == part_of(view, read)
    for newest_first in (True, False):
        told.append(await Historian(Past(log)).page(T, PageQuery(Choice(), newest_first)))
        for position in positions[1:]:
            query = PageQuery(Choice(), newest_first, after=position, limit=3)
            told.append(await Historian(Past(log)).page(T, query))
    return told


@pytest.mark.parametrize("names_another", [False, True])
@pytest.mark.parametrize("is_archived_before", [False, True])
async def test_a_log_that_was_seeded_onto_its_rest_is_archived_and_told_as_before(
    scene: Scene, names_another: bool, is_archived_before: bool
) -> None:
    """Else it could never be trimmed: what stands before the seed does not lead to it."""
    await scene.come("a", "b", "lost0", "lost1")
    held = await scene.view()
    first = await scene.snapshot()
    await scene.come("c")
    if is_archived_before:
        await scene.trim(first.position)
    after = Position(held.position.epoch, held.position.sequence + 7).text() if names_another else ""
    seam = await scene.seed(held, after)
    await scene.come("d", "e")
    middle = await scene.snapshot()
    await scene.come("f")
    newest = await scene.snapshot()
    await scene.come("g")
    expected = await answers(scene.deep())
    await scene.trim(middle.position)
    assert await answers(scene.deep()) == expected
    await scene.trim(newest.position)
    assert await answers(scene.deep()) == expected
    eldest = await scene.store.eldest(T)
    assert eldest is not None
    assert eldest[0] == newest.position
    assert seam in {mark.position for mark in await scene.deep().snapshots.marks(T)}


@pytest.mark.parametrize("files", [1, 2])
async def test_an_archive_that_broke_off_at_a_seed_goes_on_rightly(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    """A replica died behind the last event before it, or behind the state with which the log goes on."""
    await scene.come("a", "b")
    held = await scene.view()
    await scene.come("c")
    await scene.seed(held)
    await scene.come("d")
    newest = await scene.snapshot()
    expected = await answers(scene.deep())
    right = Folder.put

    def put(folder: Folder, data: bytes, writer: str) -> None:
        if len(list(folder.path.glob("*"))) == files:
            raise OSError("no space left on device")
        right(folder, data, writer)

    monkeypatch.setattr(Folder, "put", put)
    with pytest.raises(ArchiveFailed, match="no space left"):
        await scene.archive(newest.position)
    monkeypatch.setattr(Folder, "put", right)
    assert await answers(scene.deep()) == expected
    await scene.trim(newest.position)
    assert await answers(scene.deep()) == expected


async def test_a_snapshot_that_goes_to_the_archive_while_it_is_asked_for_is_found_there(scene: Scene) -> None:
    """Else the state with which a log goes on seems gone, and what came between it and the next one is not told."""
    await scene.come("a")
    held = await scene.view()
    end = held.position
    seam = await scene.seed(held, end.text())
    await scene.come("b", "c")
    newest = await scene.snapshot()
    deep = scene.deep()
    expected = [await deep.snapshots.chunk(T, mark.position, 0) for mark in await deep.snapshots.marks(T)]
    assert len(expected) == 2
    marks = await deep.snapshots.marks(T)
    await scene.trim(newest.position)
    assert await scene.store.snapshots.chunk(T, seam, 0) is None
    assert [await deep.snapshots.chunk(T, mark.position, 0) for mark in marks] == expected


async def test_who_asks_while_another_looks_at_the_archive_is_told_all(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the log seems to begin where the store's part of it does: questions come at any time."""
    await scene.come("a", "b")
    await scene.archive((await scene.snapshot()).position)
    await scene.come("c")
    await scene.trim((await scene.snapshot()).position)
    deep = scene.deep()
    await deep.eldest(T)
    expected = await deep.read({T: ORIGIN}, None, 0)
    look, looking, told = Folder.look, threading.Event(), threading.Event()

    def slow(folder: Folder) -> Contents:
        looking.set()
        assert told.wait(10)
        return look(folder)

    monkeypatch.setattr(Folder, "look", slow)
    other = asyncio.create_task(deep.eldest(T))
    assert await asyncio.to_thread(looking.wait, 10)
    found = await deep.read({T: ORIGIN}, None, 0)
    told.set()
    await other
    assert found == expected


async def test_a_break_that_is_gone_is_so_for_all_who_ask_at_once(scene: Scene) -> None:
    """It may have been trimmed: a question that fails for that would be our failure."""
    snapshots = Snapshots(scene.deep())
    snapshots.break_at(T, Position(1, 99))
    assert set(await asyncio.gather(snapshots.broken_at(T), snapshots.broken_at(T))) == {ORIGIN}


async def test_what_stands_behind_a_state_that_cannot_be_read_is_not_passed_over(scene: Scene) -> None:
    """Who was told what led to the seed is told all that came behind it, or that it is not kept."""
    await scene.come("a")
    held = await scene.view()
    seam = await scene.seed(held, held.position.text())
    await scene.come("b", "c")
    await scene.snapshot()
    await scene.come("d")
    await scene.cut(seam)
    query = PageQuery(Choice(), newest_first=False, after=held.position)
    page = json.loads(await Historian(Past(scene.store)).page(T, query))
    assert [event["kind"] for event in page["events"]] == ["history-resumed", *["instance-registered"] * 3]
    (seed,) = [mark for mark in await scene.store.snapshots.marks(T) if mark.position == seam]
    await scene.store.snapshots.drop(T, seed)
    with pytest.raises(BeforeHistory):
        await Historian(Past(scene.store)).page(T, query)


# -- parts -------------------------------------------------------------------------------------------------------------


class CountingLog:
    """Counts the chunks of snapshots that are asked for, by index."""

    def __init__(self, log: DeepLog) -> None:
        self.log = log
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return self if name == "snapshots" else getattr(self.log, name)

    async def marks(self, tenant: Tenant) -> list[Mark]:
        return await self.log.snapshots.marks(tenant)

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None:
        self.asked.append(index)
        return await self.log.snapshots.chunk(tenant, position, index)


@pytest.mark.parametrize("by", ["this version", "an earlier one", "a later one"])
async def test_of_an_archived_snapshot_one_microservice_is_read_by_itself(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Where the archive has its outline; else all of it is, once."""
    if by != "this version":
        outline = b"" if by == "an earlier one" else b"something else"

        async def another(*_: object) -> bytes:
            return outline

        monkeypatch.setattr(Archiving, "_outline", another)
    monkeypatch.setattr(snapshot, "SECTION_ROWS_MAX", 1)
    for n in range(10):
        await scene.write([service_registered(microservice(f"s{n}"), chosen=True)])
        await scene.write([instance_registered(instance(f"s{n}", "a"), chosen=True)])
    mark = await scene.snapshot()
    await scene.come("a", "b")
    expected = await Past(scene.deep()).at(T, END)
    await scene.come("c")
    await scene.trim((await scene.snapshot()).position)
    log = CountingLog(scene.deep())
    past = Past(log)
    for read in (frozenset({"s3"}), frozenset({"s7", "cart"})):
        log.asked.clear()
        seen = await past.seen(T, When(position=expected.position), read)
        assert part_of(seen.view, read) == part_of(expected, read)
        if by == "this version" or "s3" not in read:
            assert len(set(log.asked) - {mark.chunks}) <= 2 * len(read) < mark.chunks


# -- gaps --------------------------------------------------------------------------------------------------------------


async def told(scene: Scene, when: When) -> tuple[Position, dict[str, bytes]]:
    log = scene.deep()
    view = (await Past(log, earlier=log.earlier).long_ago(T, when)).view
    return view.position, digests(view)


@pytest.mark.parametrize("is_remembered", [True, False])
@pytest.mark.parametrize("is_archived_since", [False, True])
async def test_what_was_before_a_log_was_emptied_is_told_as_far_as_it_was_archived(
    scene: Scene, is_remembered: bool, is_archived_since: bool
) -> None:
    """Whether it goes on from a replica's memory or begins with nothing; between the two times nothing is known."""
    await scene.come("a", "b")
    await scene.snapshot()
    await scene.come("c")
    newest = await scene.snapshot()
    await scene.trim(newest.position)
    expected = {
        when: await told(scene, when)
        for number in range(1, newest.position.sequence)
        for when in (When(position=Position(newest.epoch, number)), When(NOW_MS + number * STEP_MS + STEP_MS // 2))
    }
    assert len({tuple(sorted(views.items())) for _, views in expected.values()}) == newest.position.sequence - 1
    await scene.come("lost0", "lost1")
    lost = await scene.view()
    lost_ms = scene.moment()
    await scene.world.lose_log(T)
    if is_remembered:
        await scene.seed(lost, lost.position.text())
    else:
        stamped = restamped([service_registered(microservice("cart"), chosen=True)], "w", scene.moment())
        await scene.store.commit(T, 0, [Write(encode_event(event)) for event in stamped])
    await scene.come("d")
    present = await scene.view()
    if is_archived_since:
        middle = await scene.snapshot()
        await scene.come("e")
        await scene.trim((await scene.snapshot()).position)
        assert (await told(scene, When(position=middle.position)))[0] == middle.position
    for when, view in expected.items():
        assert await told(scene, when) == view
    # The last place that is archived, by its name; what came behind it may have come within the same moment.
    assert (await told(scene, When(position=newest.position)))[0] == newest.position
    for when in (
        When(newest.at_ms),
        When(lost_ms),
        When(position=newest.position.next()),
        When(position=lost.position),
    ):
        with pytest.raises(BeforeHistory, match="what came next is not"):
            await told(scene, when)
    assert (await told(scene, When(present.moment_ms)))[0] == present.position
    # Events are told from where all of them are.
    log = scene.deep()
    found = PageQuery(Choice(), newest_first=False)
    page = await Historian(Past(log)).page(T, found)
    assert b"lost0" not in page
    assert page.count(b'"kind"') == (await scene.store.head(T)).sequence - is_remembered


async def test_of_a_log_that_is_empty_the_archive_still_tells_what_was(scene: Scene) -> None:
    """Nobody remembers it, and nobody has written since."""
    await scene.come("a", "b")
    newest = await scene.snapshot()
    await scene.trim(newest.position)
    when = When(position=Position(newest.epoch, 2))
    expected = await told(scene, when)
    await scene.world.lose_log(T)
    assert await told(scene, When(NOW_MS + 2 * STEP_MS + STEP_MS // 2)) == expected
    with pytest.raises(BeforeHistory):
        await told(scene, When(newest.at_ms + 1))


async def test_what_was_before_a_gap_goes_when_it_is_old(scene: Scene) -> None:
    await scene.come("a")
    await scene.trim((await scene.snapshot()).position)
    old = set(scene.root.rglob("*.segment"))
    await scene.world.lose_log(T)
    await scene.write([service_registered(microservice("cart"), chosen=True)])
    await scene.come("b")
    await scene.snapshot()
    await scene.archive((await scene.snapshot()).position)
    assert old < set(scene.root.rglob("*.segment"))
    await scene.come("c")
    await scene.archive((await scene.snapshot()).position, kept_ms=1)
    assert not old & set(scene.root.rglob("*.segment"))
