"""Past: a tenant as it was, from the newest snapshot at or before the time and the events from there on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from registry.domain.clone import clone
from registry.domain.errors import BeforeHistory, InvalidParams
from registry.domain.events import Event, HistoryResumed
from registry.domain.fold import pass_over as skip
from registry.domain.marks import Mark
from registry.domain.outcome import NOTHING
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.snapshot import SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.domain.unread import Part, forget_answers
from registry.domain.view import RegistryView
from registry.history.blocks import Blocks
from registry.history.cache import Kept, Views, weigh
from registry.history.moments import When
from registry.history.outlines import Outlines
from registry.history.part_walk import NOTHING_READ, Lacking, PartWalk, Read, with_looked
from registry.history.snapshots import Snapshots
from registry.history.told import moment_text
from registry.history.walk import Applied, HistoryBroken, Walk, check
from registry.projection.restoring import load_mark, pass_over, read_event
from registry.store.port import HistoryChanged, PastLog

T = TypeVar("T")

#: How often a log is read again that is trimmed or mended while it is read.
TRIES_MAX: Final = 5
#: Events after which a state is kept on the way to another one, so that the next question begins near its time; more
#: where there are many instances, because each of them is copied, and to apply an event costs as much as some copies.
#: And of how many parts of the bytes that all kept states may have it takes one at most.
APART: Final = 2_500
COPIED: Final = 4
SHARE: Final = 16


class Stretch(NamedTuple):
    """A part of the log that can be read without the parts before it: behind `start`, up to and with `end`."""

    start: Position
    end: Position


#: Parts of views that are kept, and their bytes.
PARTS_MAX: Final = 256
PARTS_MAX_BYTES: Final = 64 * 1024 * 1024
#: The files of a tenant's archive that cannot be read.
DamagedFiles = Callable[[Tenant], Sequence[str]]
#: ... of which an answer names this number at most.
NAMED_MAX: Final = 10
#: What is kept of a tenant's log before a gap, newest first.
EarlierLogs = Callable[[Tenant], Awaitable[Sequence[PastLog]]]


#: Whether nothing behind a place and up to another one can be about an instance (ids of its microservice and its own).
Silent = Callable[[Tenant, Position, Position, str, str], Awaitable[bool]]


async def never_silent(tenant: Tenant, after: Position, until: Position, service_id: str, instance_id: str) -> bool:
    """Where nobody knows."""
    return False


async def none_earlier(tenant: Tenant) -> Sequence[PastLog]:
    """Where there is no archive."""
    return ()


class Past:
    """Reads one store. Views that it hands out may be looked at, not changed, unless they come from `walker`."""

    def __init__(
        self,
        store: PastLog,
        views: Views | None = None,
        apart: int = APART,
        damaged: DamagedFiles = lambda _: (),
        earlier: EarlierLogs = none_earlier,
        is_silent: Silent = never_silent,
    ) -> None:
        self._store = store
        self.damaged = damaged
        self._earlier = earlier
        self.is_silent = is_silent
        self.views = Views() if views is None else views  # an empty one is false
        self.parts = Views(PARTS_MAX, PARTS_MAX_BYTES)
        self.blocks = Blocks(store)
        self.outlines = Outlines(store)
        self._snapshots = Snapshots(store)
        self._apart = apart

    # -- states --------------------------------------------------------------------------------------------------------

    async def at(self, tenant: Tenant, when: When) -> RegistryView:
        """The tenant as it was.

        Raises:
            InvalidParams: the position is ahead of the log.
            BeforeHistory: nothing that is kept reaches back that far; the detail names the oldest moment that does.
            StoreUnavailable, Damaged
        """
        return (await self.seen(tenant, when, None)).view

    async def seen(self, tenant: Tenant, when: When, read: Read) -> Kept:
        """The tenant as it was, as much of it as is to be read, or more. Errors as for `at`."""
        for _ in range(TRIES_MAX):
            try:
                seen = await self._at(tenant, when, read)
                if seen.view.position == ORIGIN and (began := await self._began_anew(tenant)) is not None:
                    raise self.before_history(began)
                return seen
            except HistoryBroken as broken:
                self.break_at(tenant, broken.position)
            except HistoryChanged:
                self.forget()
        raise HistoryChanged(f"the log of {tenant} changes faster than it can be read")

    async def long_ago(self, tenant: Tenant, when: When, read: Read = None) -> Kept:
        """As `seen`, and of a time before a gap in what is kept, as far as is known what was then."""
        try:
            seen = await self.seen(tenant, when, read)
        except BeforeHistory as before:
            return await self._before_a_gap(tenant, when, read, before)
        return seen if seen.view.position != ORIGIN else await self._before_a_gap(tenant, when, read, None)

    async def look(self, tenant: Tenant, when: When, question: Callable[[RegistryView], T], read: Read) -> T:
        """What is answered of a time to a question that looks at few microservices. Errors as for `at`.

        Args:
            read: what is known that it will look at.
        """
        while True:
            seen = await self.long_ago(tenant, when, read)
            if seen.part is None:
                return question(seen.view)
            forget_answers(seen.view, seen.part)
            answer = question(seen.view)
            if not seen.part.looked:
                return answer
            read = with_looked(seen.part)

    async def _before_a_gap(self, tenant: Tenant, when: When, read: Read, refusal: BeforeHistory | None) -> Kept:
        """What was before that which the log tells. `refusal`: why it cannot be told; None: there was nothing."""
        for log in await self._earlier(tenant):
            end = await log.head(tenant)
            try:
                seen = await Past(log, Views(most=1)).seen(tenant, when.up_to(end), read)
            except BeforeHistory as before:
                refusal = before
                continue
            view = seen.view
            if view.position == end and when.position != end:
                known = f"history is kept up to {moment_text(view.moment_ms)} (position {end.text()})"
                raise self._not_kept(tenant, f"{known}, and what came next is not")
            if view.position != ORIGIN:
                return seen
            refusal = None
        if refusal is not None:
            raise refusal
        return Kept(RegistryView(tenant), b"")

    async def _at(self, tenant: Tenant, when: When, read: Read) -> Kept:
        head = await self._store.head(tenant)
        if when.position is not None and when.position > head:
            raise InvalidParams(f"position {when.position.text()} is ahead of the log, which ends at {head.text()}")
        while read is not None:
            walk = self._part_walk(await self._base(tenant, when, head, read), head, read)
            try:
                async for _ in walk.until(when):
                    pass
            except Lacking as lacking:
                read = lacking.read
            else:
                self.parts.put(walk.reached)
                return walk.reached
        return await self._whole(tenant, when, head)

    async def _whole(self, tenant: Tenant, when: When, head: Position) -> Kept:
        walk = Walk(self._store, await self._base(tenant, when, head, None), head)
        since = 0
        async for _ in walk.until(when):
            since += 1
            if since < max(self._apart, walk.view.instance_count // COPIED):
                continue
            since = 0
            if weigh(walk.reached) * SHARE <= self.views.most_bytes:
                self.views.put(Kept(clone(walk.view), walk.reached.payload))
        if walk.moved:
            self.views.put(walk.reached)
        return walk.reached

    async def walker(self, tenant: Tenant, when: When, read: Read = None) -> Walk:
        """A walk that begins where the tenant was at that time. Errors as for `at`, and HistoryChanged.

        Args:
            read: it tells what happened to the instances of these, and all that is not about instances; it may raise
                Lacking.
        """
        head = await self._store.head(tenant)
        base = await self._at(tenant, when, read)
        return Walk(self._store, base, head) if read is None else self._part_walk(base, head, read)

    def _part_walk(self, base: Kept, head: Position, read: frozenset[str]) -> PartWalk:
        return PartWalk(self._store, base, head, self.blocks, self.outlines, read)

    async def _base(self, tenant: Tenant, when: When, head: Position, read: Read) -> Kept:
        """The nearest state that need not be folded."""
        kept = self._nearest(tenant, when, read)
        for mark in await self._snapshots.up_to(tenant, when, head):
            if kept is not None and kept.view.position >= mark.position:
                break
            loaded = await self._load(tenant, mark, read)
            if loaded is not None and when.reaches(loaded.view.position, loaded.view.moment_ms):
                return loaded
        if kept is not None:
            await check(self._store, kept)
            return kept
        eldest = await self._eldest(tenant, head, read)
        if not when.reaches(eldest.view.position, eldest.view.moment_ms):
            raise self.before_history(eldest.view)
        return eldest

    async def _load(self, tenant: Tenant, mark: Mark, read: Read) -> Kept | None:
        known = self._nearest(tenant, When(position=mark.position), read)
        if known is not None and known.view.position == mark.position:
            await check(self._store, known)
            return known
        try:
            kept = await self._restored(tenant, mark, read)
        except SnapshotUnreadable as why:
            pass_over(mark, tenant, why)
            return None
        (self.views if kept.part is None else self.parts).put(kept)
        return kept

    def _nearest(self, tenant: Tenant, when: When, read: Read) -> Kept | None:
        whole = self.views.nearest(tenant, when)
        part = self.parts.nearest(tenant, when, read) if read is not None else None
        if whole is None or part is None:
            return whole or part
        return part if part.view.position >= whole.view.position else whole

    async def _restored(self, tenant: Tenant, mark: Mark, read: Read) -> Kept:
        if read is not None:
            return await self.outlines.load(tenant, mark, Part(read, set()))
        restored = await load_mark(self._store, tenant, mark)
        return Kept(restored.view, restored.last)

    def forget(self) -> None:
        """What was read may not be what the log holds now."""
        self.views.clear()
        self.parts.clear()
        self.blocks.clear()
        self.outlines.clear()

    def break_at(self, tenant: Tenant, position: Position) -> None:
        """From now on tell nothing of what was before this position."""
        self.forget()
        self._snapshots.break_at(tenant, position)

    async def head(self, tenant: Tenant) -> Position:
        return await self._store.head(tenant)

    async def event(self, tenant: Tenant, position: Position) -> Event | None:
        """The event at a place, if it is kept."""
        payload = await self._store.entry(tenant, position)
        return read_event(self._store, tenant, position, payload) if payload is not None else None

    # -- what is kept --------------------------------------------------------------------------------------------------

    def before_history(self, eldest: RegistryView) -> BeforeHistory:
        """What is said of a time before the eldest state that is kept."""
        begins = f"history is kept from {moment_text(eldest.moment_ms)} (position {eldest.position.text()}) on"
        return self._not_kept(eldest.tenant, begins)

    def _not_kept(self, tenant: Tenant, why: str) -> BeforeHistory:
        damaged = self.damaged(tenant)
        if not damaged:
            return BeforeHistory(why)
        named = ", ".join(damaged[:NAMED_MAX])
        return BeforeHistory(f"{why}; files of the archive that cannot be read: {len(damaged)}, {named}")

    async def eldest(self, tenant: Tenant, read: Read = None) -> Kept:
        """The eldest state that can be told. Raises StoreUnavailable, Damaged, HistoryChanged."""
        return await self._eldest(tenant, await self._store.head(tenant), read)

    async def begins(self, tenant: Tenant) -> RegistryView:
        """The same, without any instances."""
        return (await self.eldest(tenant, NOTHING_READ)).view

    async def _eldest(self, tenant: Tenant, head: Position, read: Read) -> Kept:
        if await self._is_complete(tenant, head):
            return Kept(RegistryView(tenant), b"")
        for mark in reversed(await self._snapshots.marks(tenant, head)):
            kept = await self._load(tenant, mark, read)
            if kept is not None:
                return kept
        self._snapshots.mend(tenant)  # it may have been seen in a log that was lost meanwhile
        raise HistoryChanged(f"no snapshot of {tenant} can be read, and the log does not begin with its first event")

    async def kept_from(self, eldest: RegistryView) -> RegistryView:
        """From where on all is told: from the eldest state, but of a log that had been emptied from its first event."""
        began = await self._began_anew(eldest.tenant) if eldest.position == ORIGIN else None
        return began or eldest

    async def _began_anew(self, tenant: Tenant) -> RegistryView | None:
        """The place of the first event, if an older history was put into the log behind it: it had been emptied."""
        found = await self._store.eldest(tenant)
        if found is None:
            return None
        first, payload = found
        for mark in await self._store.snapshots.marks(tenant):
            seed = await self.event(tenant, mark.position) if mark.position.sequence == 1 else None
            if isinstance(seed, HistoryResumed) and any(epoch < first.epoch for epoch in seed.mended):
                began = RegistryView(tenant)
                skip(began, first, read_event(self._store, tenant, first, payload).at_ms)
                return began
        return None

    async def resumption(self, tenant: Tenant) -> Applied | None:
        """The first event that the log holds, if it says that by it an older history goes on."""
        found = await self._store.eldest(tenant)
        if found is None:
            return None
        position, payload = found
        event = read_event(self._store, tenant, position, payload)
        return Applied(position, event, NOTHING) if isinstance(event, HistoryResumed) else None

    async def _is_complete(self, tenant: Tenant, head: Position) -> bool:
        """Whether the log is kept from its first event on, or there is none."""
        eldest = await self._store.eldest(tenant)
        if eldest is None:
            return head == ORIGIN
        position, payload = eldest
        if position.sequence != 1 or await self._snapshots.broken_at(tenant) != ORIGIN:
            return False
        return not isinstance(read_event(self._store, tenant, position, payload), HistoryResumed)

    async def stretches(self, tenant: Tenant) -> list[Stretch]:
        """What is kept of the log in parts, newest first, each of which begins where a snapshot was taken."""
        head = await self._store.head(tenant)
        eldest = (await self._eldest(tenant, head, NOTHING_READ)).view.position
        starts = [mark.position for mark in await self._snapshots.marks(tenant, head) if mark.position > eldest]
        found, end = [], head
        for start in [*starts, eldest]:
            if start < end:
                found.append(Stretch(start, end))
            end = start
        return found


def goes_on_from(event: HistoryResumed, place: Position) -> bool:
    """Whether who stands at this place, and was told what led to it, is told all that has become of it."""
    if event.after == place.text():
        return True
    return bool(event.forked) and parse_position(event.forked) <= place and covers(event, place)


def covers(event: HistoryResumed, place: Position) -> bool:
    """Whether the place is in a history that the event puts together."""
    told_up_to = parse_position(event.after) if event.after else ORIGIN
    return place <= told_up_to or place.sequence <= event.mended.get(place.epoch, 0)
