"""Past: a tenant as it was, from the newest snapshot at or before the time and the events from there on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from registry.domain.clone import clone
from registry.domain.errors import BeforeHistory, InvalidParams
from registry.domain.events import Event, HistoryResumed
from registry.domain.marks import Mark
from registry.domain.outcome import NOTHING
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.cache import Kept, Views, weigh
from registry.history.moments import When
from registry.history.told import moment_text
from registry.history.walk import Applied, HistoryBroken, Walk
from registry.projection.restoring import load_mark, pass_over, read_event
from registry.store.port import HistoryChanged, PastLog

#: How often a log is read again that is trimmed or mended while it is read.
TRIES_MAX: Final = 5
#: Events after which a state is kept on the way to another one, so that the next question begins near its time; and of
#: how many parts of the bytes that all kept states may have it takes one at most.
APART: Final = 2_500
SHARE: Final = 16
#: Tenants of which it is remembered that their history is broken; of others it is found again.
BROKEN_MAX: Final = 1000


class Stretch(NamedTuple):
    """A part of the log that can be read without the parts before it: behind `start`, up to and with `end`."""

    start: Position
    end: Position


#: The files of a tenant's archive that cannot be read.
DamagedFiles = Callable[[Tenant], Sequence[str]]
#: ... of which an answer names this number at most.
NAMED_MAX: Final = 10
#: What is kept of a tenant's log before a gap, newest first.
EarlierLogs = Callable[[Tenant], Awaitable[Sequence[PastLog]]]


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
    ) -> None:
        self._store = store
        self.damaged = damaged
        self._earlier = earlier
        self.views = Views() if views is None else views  # an empty one is false
        self._apart = apart
        #: Before these positions nothing can be told, though something is kept.
        self._broken: OrderedDict[Tenant, Position] = OrderedDict()

    # -- states --------------------------------------------------------------------------------------------------------

    async def at(self, tenant: Tenant, when: When) -> RegistryView:
        """The tenant as it was.

        Raises:
            InvalidParams: the position is ahead of the log.
            BeforeHistory: nothing that is kept reaches back that far; the detail names the oldest moment that does.
            StoreUnavailable, Damaged
        """
        for _ in range(TRIES_MAX):
            try:
                return (await self._at(tenant, when)).view
            except HistoryBroken as broken:
                self.break_at(tenant, broken.position)
            except HistoryChanged:
                self.views.clear()
        raise HistoryChanged(f"the log of {tenant} changes faster than it can be read")

    async def long_ago(self, tenant: Tenant, when: When) -> RegistryView:
        """As `at`, and of a time before a gap in what is kept, as far as is known what was then. Errors as for `at`."""
        try:
            view = await self.at(tenant, when)
        except BeforeHistory as before:
            return await self._before_a_gap(tenant, when, before)
        return view if view.position != ORIGIN else await self._before_a_gap(tenant, when, None)

    async def _before_a_gap(self, tenant: Tenant, when: When, refusal: BeforeHistory | None) -> RegistryView:
        """What was before that which the log tells. `refusal`: why it cannot be told; None: there was nothing."""
        for log in await self._earlier(tenant):
            end = await log.head(tenant)
            try:
                view = await Past(log, Views(most=1)).at(tenant, when.up_to(end))
            except BeforeHistory as before:
                refusal = before
                continue
            if view.position == end and when.position != end:
                known = f"history is kept up to {moment_text(view.moment_ms)} (position {end.text()})"
                raise self._not_kept(tenant, f"{known}, and what came next is not")
            if view.position != ORIGIN:
                return view
            refusal = None
        if refusal is not None:
            raise refusal
        return RegistryView(tenant)

    async def _at(self, tenant: Tenant, when: When) -> Kept:
        head = await self._store.head(tenant)
        if when.position is not None and when.position > head:
            raise InvalidParams(f"position {when.position.text()} is ahead of the log, which ends at {head.text()}")
        base = await self._base(tenant, when, head)
        walk = Walk(self._store, base, head)
        number = 0
        async for _ in walk.until(when):
            number += 1
            if number % self._apart == 0 and weigh(walk.view) * SHARE <= self.views.most_bytes:
                self.views.put(Kept(clone(walk.view), walk.reached.payload))
        if walk.moved:
            self.views.put(walk.reached)
        return walk.reached

    async def walker(self, tenant: Tenant, when: When) -> Walk:
        """A walk that begins where the tenant was at that time. Errors as for `at`, and HistoryChanged."""
        head = await self._store.head(tenant)
        return Walk(self._store, await self._at(tenant, when), head)

    async def _base(self, tenant: Tenant, when: When, head: Position) -> Kept:
        """The nearest state that need not be folded."""
        kept = self.views.nearest(tenant, when)
        marks = await self._marks(tenant, head)
        for mark in marks:
            if kept is not None and kept.view.position >= mark.position:
                break
            if not _may_reach(when, mark):
                continue
            loaded = await self._load(tenant, mark)
            if loaded is not None and when.reaches(loaded.view.position, loaded.view.moment_ms):
                return loaded
        if kept is not None:
            await self._check(tenant, kept)
            return kept
        eldest = await self._eldest(tenant, head)
        if not when.reaches(eldest.view.position, eldest.view.moment_ms):
            raise self.before_history(eldest.view)
        return eldest

    async def _marks(self, tenant: Tenant, head: Position) -> Sequence[Mark]:
        """The snapshots from which on the log is kept, newest first."""
        eldest = await self._store.eldest(tenant)
        broken = await self._broken_at(tenant)
        marks = [mark for mark in await self._store.snapshots.marks(tenant) if broken <= mark.position <= head]
        return [mark for mark in marks if mark is marks[0] or (eldest is not None and mark.position >= eldest[0])]

    async def _load(self, tenant: Tenant, mark: Mark) -> Kept | None:
        known = self.views.nearest(tenant, When(position=mark.position))
        if known is not None and known.view.position == mark.position:
            await self._check(tenant, known)
            return known
        try:
            restored = await load_mark(self._store, tenant, mark)
        except SnapshotUnreadable as why:
            pass_over(mark, tenant, why)
            return None
        kept = Kept(restored.view, restored.last)
        self.views.put(kept)
        return kept

    async def _check(self, tenant: Tenant, kept: Kept) -> None:
        """Raise HistoryChanged if the log holds something else where the view stands: it lost its tail meanwhile."""
        position = kept.view.position
        stands = await self._store.entry(tenant, position) if position != ORIGIN else None
        if stands is not None and stands != kept.payload:
            raise HistoryChanged(f"the log holds another event at {position.text()}")
        if stands is None and position > await self._store.head(tenant):
            raise HistoryChanged(f"the log ends before {position.text()}")

    def break_at(self, tenant: Tenant, position: Position) -> None:
        """From now on tell nothing of what was before this position."""
        self.views.clear()
        self._broken.pop(tenant, None)
        self._broken[tenant] = position
        while len(self._broken) > BROKEN_MAX:
            self._broken.popitem(last=False)

    async def _broken_at(self, tenant: Tenant) -> Position:
        """Before which position nothing can be told; the origin: all can."""
        broken = self._broken.get(tenant, ORIGIN)
        if broken != ORIGIN and await self._store.entry(tenant, broken) is None:
            del self._broken[tenant]  # the log has lost that too, or it is trimmed
            return ORIGIN
        return broken

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

    async def eldest(self, tenant: Tenant) -> RegistryView:
        """The eldest state that can be told. Raises StoreUnavailable, Damaged, HistoryChanged."""
        return (await self._eldest(tenant, await self._store.head(tenant))).view

    async def _eldest(self, tenant: Tenant, head: Position) -> Kept:
        if await self._is_complete(tenant, head):
            return Kept(RegistryView(tenant), b"")
        for mark in reversed(await self._marks(tenant, head)):
            kept = await self._load(tenant, mark)
            if kept is not None:
                return kept
        self._broken.pop(tenant, None)  # it may have been seen in a log that was lost meanwhile
        raise HistoryChanged(f"no snapshot of {tenant} can be read, and the log does not begin with its first event")

    async def resumption(self, tenant: Tenant, after: Position) -> Applied | None:
        """The first event that the log holds, if by it the history goes on from this place, of which nothing was lost.

        Else what came behind the place is not kept.
        """
        found = await self._store.eldest(tenant)
        if found is None:
            return None
        position, payload = found
        event = read_event(self._store, tenant, position, payload)
        if isinstance(event, HistoryResumed) and event.after == after.text():
            return Applied(position, event, NOTHING)
        return None

    async def _is_complete(self, tenant: Tenant, head: Position) -> bool:
        """Whether the log is kept from its first event on, or there is none."""
        eldest = await self._store.eldest(tenant)
        if eldest is None:
            return head == ORIGIN
        position, payload = eldest
        if position.sequence != 1 or await self._broken_at(tenant) != ORIGIN:
            return False
        return not isinstance(read_event(self._store, tenant, position, payload), HistoryResumed)

    async def stretches(self, tenant: Tenant) -> list[Stretch]:
        """What is kept of the log in parts, newest first, each of which begins where a snapshot was taken."""
        head = await self._store.head(tenant)
        eldest = (await self._eldest(tenant, head)).view.position
        starts = [mark.position for mark in await self._marks(tenant, head) if mark.position > eldest]
        found, end = [], head
        for start in [*starts, eldest]:
            if start < end:
                found.append(Stretch(start, end))
            end = start
        return found


def _may_reach(when: When, mark: Mark) -> bool:
    """Whether the snapshot can lie at or before the time. Its writer's clock is as good as any other's."""
    if when.position is not None and mark.position > when.position:
        return False
    return when.moment_ms is None or mark.at_ms <= when.moment_ms
