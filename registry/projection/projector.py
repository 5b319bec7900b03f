"""Projector: the views of one replica. It is the only writer of views, and tells those who listen of each change.

What this replica writes is applied as soon as it is appended, when nothing of another replica came between; everything
else is read from the logs (`reading`). Both ways lead through `_apply`, which is idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from registry.clock import Clock
from registry.domain.emptiness import is_empty
from registry.domain.events import Event
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.recent import Recent, Remembered
from registry.domain.recents import Recents
from registry.domain.retention import Log
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.episode import Actions, Episode
from registry.projection.aside import Aside
from registry.projection.following import Following
from registry.projection.mending import Mending
from registry.projection.proving import Proving
from registry.projection.reading import Reading
from registry.projection.rebuilding import Rebuilding, announce
from registry.projection.restoring import Inapplicable, Restored, apply_or_tell, follows, read_event, salvage
from registry.projection.waiting import CatchUps, OwnOutcomes, Waiters
from registry.store.damage import Damaged
from registry.store.port import HistoryChanged, Store

logger = logging.getLogger(__name__)

#: Bytes of the newest events of all tenants that are remembered.
REMEMBERED_MAX_BYTES: Final = 64 * 1024 * 1024
#: Events applied before other tasks get a turn.
APPLY_BATCH_MAX: Final = 500

Listener = Callable[[Tenant, Position, Event, Outcome], None]
TenantListener = Callable[[Tenant], None]


@dataclass(frozen=True, slots=True)
class ProjectorStats:
    """What the projector says of itself. `silent_s`: seconds since the store last answered it."""

    tenants: int
    applied: int
    refused: int
    rebuilt: int
    silent_s: float
    live: bool


class Projector:
    """The views of one replica and the waiting for them.

    Args:
        store: the log.
        replica: the name under which this replica's own events are recorded.
        clock: tells for how long the store has been silent.
        remembered_max_bytes: of the newest events of all tenants.
    """

    def __init__(
        self,
        store: Store,
        replica: str,
        clock: Clock | None = None,
        remembered_max_bytes: int = REMEMBERED_MAX_BYTES,
    ) -> None:
        self.replica = replica
        self._store = store
        clock = clock or Clock()
        self._views: dict[Tenant, RegistryView] = {}
        #: The newest events of each view, to be found again after a break, and to be put back if the log lost them.
        self._recents = Recents(remembered_max_bytes)
        self._listeners: list[Listener] = []
        self._rebuild_listeners: list[TenantListener] = []
        self._news_listeners: list[TenantListener] = []
        self._leave_listeners: list[TenantListener] = []
        #: Moves whenever a view changes, or another takes its place.
        self.changes = 0
        #: Events applied: this replica's own, and all others. Set when one of those stands before an own one.
        self.own = 0
        self.foreign = 0
        self.overtaken = asyncio.Event()
        self._refused = 0
        #: Set once the views have reached the tail of the logs.
        self.live = False
        self.outcomes = OwnOutcomes()
        self._waiters = Waiters()
        self.mending = Mending(store, replica, clock)
        self._rebuilding = Rebuilding(store, self, self.mending, clock)
        self.reading = Reading(store, self, clock)
        self._catch_ups = CatchUps(self.reading.catch_up)
        away = self.reading.away
        #: That the log can be read, but no log can be written: why other things fail meanwhile.
        self.refusing = Episode(logger, Actions("writes_refused", "writes_taken"), away, steady_ms=clock.steady_ms)
        #: What is damaged in the store, and is neither read nor written until it is sound again.
        self.aside = Aside(store, self, clock.steady_ms)
        self.following = Following(store, lambda tenant: self.view(tenant).position, self.absorb, self.reading.doubt)
        self.proving = Proving(store, self)

    # -- views ---------------------------------------------------------------------------------------------------------

    @property
    def tenants(self) -> list[Tenant]:
        """The tenants that exist."""
        return list(self._views)

    @property
    def instances(self) -> int:
        """The number of instances in all of them."""
        return sum(view.instance_count for view in self._views.values())

    def view(self, tenant: Tenant) -> RegistryView:
        """The tenant's view; an empty one, which is not kept, for a tenant that does not exist."""
        return self._views.get(tenant) or RegistryView(tenant)

    def views(self) -> list[RegistryView]:
        """Those of the tenants that exist."""
        return list(self._views.values())

    def view_if_known(self, tenant: Tenant) -> RegistryView | None:
        return self._views.get(tenant)

    def knows(self, tenant: Tenant) -> bool:
        return tenant in self._views

    def follow(self, tenant: Tenant) -> None:
        """Keep a view of this tenant from now on."""
        if tenant not in self._views:
            self.changes += 1
            self._views[tenant] = RegistryView(tenant)
            self.following.heard(tenant)

    def leave(self, tenant: Tenant, at: Position) -> bool:
        """Forget a tenant that was taken off the list when its log went up to `at`.

        False, and nothing is done, when it is not empty, or not there.
        """
        view = self._views[tenant]
        if view.position != at or not is_empty(view) or tenant in self.aside.tenants:
            return False
        self.changes += 1
        del self._views[tenant]
        self._recents.forget(tenant)
        self.following.forget(tenant)
        for listener in self._leave_listeners:
            listener(tenant)
        return True

    def recent(self, tenant: Tenant) -> Recent:
        """The newest events of a view that is kept."""
        return self._recents.of(tenant)

    def newest(self, tenant: Tenant, most: int) -> list[Remembered]:
        """The newest events of the view that this replica has seen, eldest first."""
        return self._recents.of(tenant).last(most)

    def newest_event(self, tenant: Tenant) -> Event | None:
        """The event at the view's position, if this replica has seen it."""
        newest = self._recents.of(tenant).newest()
        return newest.event if newest is not None and newest.position == self.view(tenant).position else None

    def log(self, tenant: Tenant) -> Log:
        """How far the log has been applied, and how large it is up to there."""
        return Log(self.view(tenant).position, self._recents.of(tenant).log_bytes)

    @property
    def remembered_bytes(self) -> int:
        """What the newest events of all tenants count for their limit."""
        return self._recents.size

    def stats(self) -> ProjectorStats:
        rebuilt, silent_s = self._rebuilding.rebuilt, self.reading.silent_s
        return ProjectorStats(len(self._views), self.own + self.foreign, self._refused, rebuilt, silent_s, self.live)

    # -- those who listen ----------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every event applied, right after it became visible in the view."""
        self._listeners.append(listener)

    def listen_for_rebuilds(self, listener: TenantListener) -> None:
        """Call `listener` when a log that had changed has been replayed and its new view is in place."""
        self._rebuild_listeners.append(listener)

    def listen_for_news(self, listener: TenantListener) -> None:
        """Call `listener` with each tenant whose log has news: applied, or merely seen to be there."""
        self._news_listeners.append(listener)

    def listen_for_leaves(self, listener: TenantListener) -> None:
        """Call `listener` with each tenant that is forgotten."""
        self._leave_listeners.append(listener)

    def tell_news(self, tenant: Tenant) -> None:
        """The tenant's log has news."""
        if tenant not in self.aside.tenants and self.knows(tenant):
            self.following.heard(tenant)
        for listener in self._news_listeners:
            listener(tenant)

    def note_aside(self, tenant: Tenant) -> None:
        """The tenant has been set aside, or taken back: it is not followed, or is again."""
        self.changes += 1
        if tenant in self.aside.tenants:
            self.following.forget(tenant)
        elif self.knows(tenant):
            self.tell_news(tenant)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Replay every log to its tail, or to what is damaged in it. Raises StoreUnavailable."""
        await self.reading.start()
        self.live = True

    async def take_up(self, tenants: Sequence[Tenant]) -> bool:
        """Follow those of the tenants that are not known. Returns whether there were any."""
        return await self.reading.take_up(tenants)

    async def catch_up(self, tenant: Tenant) -> None:
        """Wait until the view includes every event that was in the log when this was called.

        Raises:
            StoreUnavailable: the log could not be read; the view is as it was.
            Damaged: nor will it be, until it is sound again.
        """
        await self.caught_up(tenant)

    def caught_up(self, tenant: Tenant) -> asyncio.Future[None]:
        """The end of `catch_up`. Raises Damaged at once where it would not come."""
        self.aside.check(tenant)
        return self._catch_ups.join(tenant)

    async def wait_for(self, tenant: Tenant, position: Position, timeout_s: float) -> bool:
        """Wait until the view includes `position`. False when that took longer than `timeout_s`."""
        return self.view(tenant).position >= position or await self._waiters.wait(tenant, position, timeout_s)

    # -- applying ------------------------------------------------------------------------------------------------------

    async def absorb(self, events: Mapping[Tenant, Sequence[tuple[Position, bytes]]]) -> None:
        """Apply what a read has brought. What is damaged is set aside, and a log that has changed is replayed."""
        for tenant, entries in events.items():
            with contextlib.suppress(Damaged):
                await self._absorb_all(tenant, entries)

    async def _absorb_all(self, tenant: Tenant, entries: Sequence[tuple[Position, bytes]]) -> None:
        for start in range(0, len(entries), APPLY_BATCH_MAX):
            if start:
                await asyncio.sleep(0)
            if tenant in self.aside.tenants:
                return  # meanwhile
            if not self.knows(tenant):
                # It was forgotten meanwhile, and is not empty any more.
                await announce(self._store, tenant)
                self.follow(tenant)
            try:
                self._absorb_batch(self._views[tenant], entries[start : start + APPLY_BATCH_MAX])
            except HistoryChanged as change:
                await self.rebuild(tenant, change.detail)
                return

    def _absorb_batch(self, view: RegistryView, entries: Sequence[tuple[Position, bytes]]) -> None:
        for position, payload in entries:
            if position <= view.position:
                continue
            event = self.read_event(view.tenant, position, payload)
            if not follows(view.position, position, event):
                raise HistoryChanged(f"{view.position.text()} is followed by {position.text()}")
            self._apply(view, position, event, payload)
        self.tell_news(view.tenant)
        self._waiters.wake(view.tenant, view.position)

    def read_event(self, tenant: Tenant, position: Position, payload: bytes) -> Event:
        """Raises Damaged; the tenant is set aside then."""
        try:
            return read_event(self._store, tenant, position, payload)
        except Damaged as damage:
            self.aside.put(damage)
            raise

    def offer(self, tenant: Tenant, appended: Iterable[tuple[Position, Event, bytes]]) -> None:
        """Apply own events just appended, each with the bytes in which it is written.

        Where others came between, reading will bring them all in order.
        """
        view = self._views[tenant]
        for position, event, written in appended:
            if position > view.position:
                if not follows(view.position, position, event):
                    self.overtaken.set()
                    return
                self._apply(view, position, event, written)
        self.tell_news(tenant)
        self._waiters.wake(tenant, view.position)

    def _apply(self, view: RegistryView, position: Position, event: Event, written: bytes) -> None:
        self.changes += 1
        try:
            outcome = apply_or_tell(self._store, view, position, event)
        except Inapplicable as damage:
            self.aside.put(damage, spoilt=True)
            raise
        if outcome.error is not None:
            self._refused += 1
        self._recents.add(view.tenant, position, written)
        if event.replica == self.replica:
            self.own += 1
            self.outcomes.settle(event, outcome)
        else:
            self.foreign += 1
        for listener in self._listeners:
            listener(view.tenant, position, event, outcome)

    # -- other views ---------------------------------------------------------------------------------------------------

    async def rebuild(self, tenant: Tenant, reason: str, before_ms: int | None = None) -> None:
        """Replay a log that contradicts its view, after it got back what it lost and this replica knows of.

        The old view is answered from until the new one is complete. With `before_ms`, snapshots taken later (Unix ms)
        are not used.
        """
        await self._rebuilding.rebuild(tenant, reason, before_ms)

    async def salvage(self, tenant: Tenant) -> None:
        """Put what can still be read of a damaged tenant in the place of its view."""
        self.adopt(tenant, await salvage(self._store, tenant, self.replica))

    def adopt(self, tenant: Tenant, restored: Restored) -> None:
        """Put a view in its place. Nobody was told of the events that led to it; now everybody is told of it."""
        self.changes += 1
        self._views[tenant] = restored.view
        self._recents.reset(tenant, restored.tail)
        for event, outcome in restored.own:
            self.outcomes.settle(event, outcome)
        self.tell_news(tenant)
        self._waiters.wake(tenant, restored.view.position)
        for listener in self._rebuild_listeners:
            listener(tenant)
