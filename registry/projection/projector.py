"""Projector: follows the logs of all tenants and keeps their views.

It is the only writer of views. Its own replica's writes are applied as soon as they are appended, when nothing of
another replica came between; everything else arrives by reading. Both ways lead through `_apply`, which is idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event
from registry.domain.history import Recent, Remembered
from registry.domain.outcome import Outcome
from registry.domain.position import ORIGIN, Position
from registry.domain.view import RegistryView, Tenant
from registry.episode import Actions, Episode
from registry.projection.aside import Aside
from registry.projection.following import Following
from registry.projection.mending import Mending
from registry.projection.proving import HEADS_AT_ONCE, Proving, chunks
from registry.projection.restoring import (
    Inapplicable,
    Restored,
    apply_or_tell,
    follows,
    load_newest,
    read_event,
    salvage,
)
from registry.projection.waiting import CatchUps, Waiters
from registry.store.port import Damaged, HistoryChanged, Store, Tail

logger = logging.getLogger(__name__)

#: How long one read waits for news, ms. Also the longest time after which a lost connection is noticed.
READ_BLOCK_MS: Final = 1000
#: While own writes are all there is, a read waits so long for more of them, and twice as long each time up to the most:
#: it costs as much as a commit, and brings what is known. So much later may another replica's write be seen, unless it
#: stands before an own one.
OWN_NEWS_PAUSE_S: Final = 0.001
OWN_NEWS_PAUSE_MAX_S: Final = 0.004
#: Logs read together, and snapshots loaded at once, at the start.
STARTED_TOGETHER: Final = 64
#: Events applied before other tasks get a turn.
APPLY_BATCH_MAX: Final = 500
#: Seconds between attempts to reach a store that is away.
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 1.0
#: Times a log is replayed that moves while what it lost is put back.
REBUILDS_MAX: Final = 20

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
    """

    def __init__(self, store: Store, replica: str, clock: Clock | None = None) -> None:
        self.replica = replica
        self._store = store
        clock = clock or Clock()
        self.mending = Mending(store, replica, clock)
        #: That the log cannot be read, and that it can, but no log can be written: why other things fail meanwhile.
        self.away = Episode(logger, Actions("store_away", "store_back"), steady_ms=clock.steady_ms)
        self.refusing = Episode(logger, Actions("writes_refused", "writes_taken"), self.away, steady_ms=clock.steady_ms)
        #: What is damaged in the store, and is neither read nor written until it is sound again.
        self.aside = Aside(store, self, clock.steady_ms)
        self._views: dict[Tenant, RegistryView] = {}
        self._tenants_after = ""
        self._listeners: list[Listener] = []
        self._rebuild_listeners: list[TenantListener] = []
        self._news_listeners: list[TenantListener] = []
        #: Own events under way, by their number, and who waits for what applying them comes to.
        self._expected: dict[int, asyncio.Future[Outcome]] = {}
        self._waiters = Waiters()
        self._catch_ups = CatchUps(self._catch_up)
        self._rebuilds: dict[Tenant, asyncio.Task[None]] = {}
        changed = Actions("log_changed", "log_replayed")
        self._changed: defaultdict[Tenant, Episode] = defaultdict(
            lambda: Episode(logger, changed, level=logging.ERROR, steady_ms=clock.steady_ms)
        )
        #: The newest events of each view, to be found again after a break, and to be put back if the log lost them.
        self._recent: dict[Tenant, Recent] = defaultdict(Recent)
        #: Moves whenever a view changes, or another takes its place.
        self.changes = 0
        self.following = Following(store, lambda tenant: self.view(tenant).position, self._absorb_events, self._doubt)
        #: Whether the views have to prove their places in the logs, because a read has failed.
        self._doubtful = False
        self.proving = Proving(store, self)
        #: Events applied: this replica's own, and all others.
        self._own = 0
        self._foreign = 0
        self._overtaken = asyncio.Event()
        self._refused = 0
        self._rebuilt = 0
        self._steady_ms = clock.steady_ms
        self._last_contact_ms = self._steady_ms()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Set once the views have reached the tail of the logs.
        self.live = False

    # -- views ---------------------------------------------------------------------------------------------------------

    @property
    def tenants(self) -> list[Tenant]:
        """The tenants that exist."""
        return list(self._views)

    def view(self, tenant: Tenant) -> RegistryView:
        """The tenant's view; an empty one, which is not kept, for a tenant that does not exist."""
        return self._views.get(tenant) or RegistryView(tenant)

    def knows(self, tenant: Tenant) -> bool:
        return tenant in self._views

    def follow(self, tenant: Tenant) -> None:
        """Keep a view of this tenant from now on."""
        if tenant not in self._views:
            self.changes += 1
            self._views[tenant] = RegistryView(tenant)
            self.following.heard(tenant)

    def newest(self, tenant: Tenant, most: int) -> list[Remembered]:
        """The newest events of the view that this replica has seen, eldest first."""
        return self._recent[tenant].last(most) if tenant in self._recent else []

    def newest_event(self, tenant: Tenant) -> Event | None:
        """The event at the view's position, if this replica has seen it."""
        newest = self._recent[tenant].newest() if tenant in self._recent else None
        return newest.event if newest is not None and newest.position == self.view(tenant).position else None

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every event applied, right after it became visible in the view."""
        self._listeners.append(listener)

    def listen_for_rebuilds(self, listener: TenantListener) -> None:
        """Call `listener` when a log that had changed has been replayed and its new view is in place."""
        self._rebuild_listeners.append(listener)

    def listen_for_news(self, listener: TenantListener) -> None:
        """Call `listener` with each tenant whose log has news: applied, or merely seen to be there."""
        self._news_listeners.append(listener)

    def tell_news(self, tenant: Tenant) -> None:
        """The tenant's log has news."""
        if tenant not in self.aside.tenants:
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

    def heard_since(self, steady_ms: int) -> bool:
        """Whether the store has answered this replica after that moment of the steady clock."""
        return self._last_contact_ms > steady_ms

    @property
    def silent_s(self) -> float:
        """Seconds since the store last answered. It is asked all the time, so some seconds mean that it is away."""
        return (self._steady_ms() - self._last_contact_ms) / 1000

    def stats(self) -> ProjectorStats:
        return ProjectorStats(
            len(self._views), self._own + self._foreign, self._refused, self._rebuilt, self.silent_s, self.live
        )

    # -- following the log ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Replay every log to its tail, or to what is damaged in it. Raises StoreUnavailable."""
        while True:
            try:
                tail = await self._read(0)
            except Damaged:
                continue  # it is set aside, and the next read does without it
            if tail.events or tail.tenants:
                await self._absorb(tail)
            elif not await self.aside.settle():
                break
        for some in chunks(self.tenants, STARTED_TOGETHER):
            await self._read_to_the_end(some)
        await self.aside.settle()
        self.live = True

    async def _read_to_the_end(self, tenants: Sequence[Tenant]) -> None:
        while True:
            sound = [tenant for tenant in tenants if tenant not in self.aside.tenants]
            after = {tenant: self._views[tenant].position for tenant in sound}
            try:
                tail = await self._store.read(after, None, 0, follow=True)
            except Damaged:
                continue
            if not tail.events:
                return
            await self._absorb_events(tail.events)

    async def run(self) -> None:
        """Follow the logs until cancelled; a store that is away is asked again."""
        retry_s = RETRY_FIRST_S
        pause_s = 0.0
        own = 0
        while True:
            try:
                if self._doubtful:
                    self._doubtful = False
                    await self.proving.prove(self.tenants)
                foreign, writing, own = self._foreign, self._own != own, self._own
                self._overtaken.clear()
                # To wait for news while we write them is to be sent each of them.
                tail = await self._read(0 if writing else READ_BLOCK_MS)
                await self._absorb(tail)
                self.away.ends("Redis is back")
                if self._foreign == foreign and (writing or tail.events):
                    pause_s = min(max(2 * pause_s, OWN_NEWS_PAUSE_S), OWN_NEWS_PAUSE_MAX_S)
                    await self._pause(pause_s)
                else:
                    pause_s = 0.0
                retry_s = RETRY_FIRST_S
            except Damaged:
                continue  # as at the start
            except StoreUnavailable as error:
                self._doubt()
                self.away.occurs("the log cannot be read: %s", error.detail, since_ms=self._last_contact_ms)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def _pause(self, pause_s: float) -> None:
        """Wait, but no longer than until an own write tells that another replica's stands before it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._overtaken.wait()

    def _doubt(self) -> None:
        self._doubtful = True

    async def _read(self, block_ms: int) -> Tail:
        tail = await self._store.read(self.following.lively(), self._list_place, block_ms, follow=True)
        self._last_contact_ms = self._steady_ms()
        return tail

    @property
    def _list_place(self) -> str | None:
        """Where to go on with the list of tenants, if it can be read."""
        return None if self.aside.list_is_damaged else self._tenants_after

    async def _absorb(self, tail: Tail) -> None:
        await self.take_up(tail.tenants)
        self._tenants_after = tail.tenants_after
        await self._absorb_events(tail.events)

    async def take_up(self, tenants: Sequence[Tenant]) -> bool:
        """Follow those of the tenants that are not known. Returns whether there were any."""
        new = [tenant for tenant in dict.fromkeys(tenants) if not self.knows(tenant)]
        for some in chunks(new, STARTED_TOGETHER):
            found = await asyncio.gather(*(self._load(tenant) for tenant in some))
            for tenant, restored in zip(some, found, strict=True):
                if not self.knows(tenant):
                    self._adopt(tenant, restored)
        return bool(new)

    async def _load(self, tenant: Tenant) -> Restored:
        try:
            return await load_newest(self._store, tenant)
        except Damaged as damage:
            self.aside.put(damage)
            return await salvage(self._store, tenant, self.replica)

    async def salvage(self, tenant: Tenant) -> None:
        """Put what can still be read of a damaged tenant in the place of its view."""
        self._adopt(tenant, await salvage(self._store, tenant, self.replica))

    async def _absorb_events(self, events: Mapping[Tenant, Sequence[tuple[Position, bytes]]]) -> None:
        for tenant, entries in events.items():
            with contextlib.suppress(Damaged):
                await self._absorb_all(tenant, entries)

    async def _absorb_all(self, tenant: Tenant, entries: Sequence[tuple[Position, bytes]]) -> None:
        for start in range(0, len(entries), APPLY_BATCH_MAX):
            if start:
                await asyncio.sleep(0)
            if tenant in self.aside.tenants:
                return  # meanwhile
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
            self._apply(view, position, event)
        self.tell_news(view.tenant)
        self._waiters.wake(view.tenant, view.position)

    def read_event(self, tenant: Tenant, position: Position, payload: bytes) -> Event:
        """Raises Damaged; the tenant is set aside then."""
        try:
            return read_event(self._store, tenant, position, payload)
        except Damaged as damage:
            self.aside.put(damage)
            raise

    def _apply(self, view: RegistryView, position: Position, event: Event) -> None:
        self.changes += 1
        try:
            outcome = apply_or_tell(self._store, view, position, event)
        except Inapplicable as damage:
            self.aside.put(damage, spoilt=True)
            raise
        if outcome.error is not None:
            self._refused += 1
        self._recent[view.tenant].add(position, event)
        if event.replica == self.replica:
            self._own += 1
            self._settle(event, outcome)
        else:
            self._foreign += 1
        for listener in self._listeners:
            listener(view.tenant, position, event, outcome)

    def _settle(self, event: Event, outcome: Outcome) -> None:
        """Tell whoever waits for this own event what came of it."""
        waiting = self._expected.pop(event.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    async def rebuild(self, tenant: Tenant, reason: str, before_ms: int | None = None) -> None:
        """Replay a log that contradicts its view, after it got back what it lost and this replica knows of.

        The old view is answered from until the new one is complete. With `before_ms`, snapshots taken later (Unix ms)
        are not used.
        """
        task = self._rebuilds.get(tenant)
        if task is None:
            if reason:
                self._changed[tenant].occurs(
                    "the log of %s changed, replaying it: %s", tenant, reason, tenant=str(tenant)
                )
            task = self._rebuilds[tenant] = asyncio.create_task(self._rebuild(tenant, before_ms))
            task.add_done_callback(lambda _: self._rebuilds.pop(tenant))
        await asyncio.shield(task)

    async def _rebuild(self, tenant: Tenant, before_ms: int | None) -> None:
        for _ in range(REBUILDS_MAX):
            with contextlib.suppress(HistoryChanged):
                await self._announce(tenant)  # whatever lost the log may have lost its announcement
                try:
                    restored = await self.mending.restore(self.view(tenant), self._recent[tenant], before_ms)
                except Damaged as damage:
                    if before_ms is None:  # else the log is read only to see whether this view is right
                        self.aside.put(damage)
                    raise
                if restored is not None:
                    self._adopt(tenant, restored)
                    self._rebuilt += 1
                self._changed[tenant].ends("the log of %s is replayed", tenant, tenant=str(tenant))
                return
        raise StoreUnavailable(f"the log of {tenant} changes faster than it can be replayed")

    async def _announce(self, tenant: Tenant) -> None:
        """Tell every replica of a tenant that has a log, unless the list of tenants is damaged."""
        with contextlib.suppress(Damaged):
            await self._store.add_tenant(tenant)

    def _adopt(self, tenant: Tenant, restored: Restored) -> None:
        """Put a view in its place. Nobody was told of the events that led to it; now everybody is told of it."""
        self.changes += 1
        self._views[tenant] = restored.view
        self._recent[tenant].reset(restored.tail)
        for event, outcome in restored.own:
            self._settle(event, outcome)
        self.tell_news(tenant)
        self._waiters.wake(tenant, restored.view.position)
        for listener in self._rebuild_listeners:
            listener(tenant)

    # -- own writes ----------------------------------------------------------------------------------------------------

    def expect(self, number: int) -> asyncio.Future[Outcome]:
        """A future of what applying this replica's event of that number will come to."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future = self._expected[number] = self._loop.create_future()
        return future

    def forget(self, number: int) -> None:
        """Nobody waits for that event any more."""
        self._expected.pop(number, None)

    def offer(self, tenant: Tenant, appended: Iterable[tuple[Position, Event]]) -> None:
        """Apply own events just appended. Where others came between, reading will bring them all in order."""
        view = self._views[tenant]
        for position, event in appended:
            if position > view.position:
                if not follows(view.position, position, event):
                    self._overtaken.set()
                    return
                self._apply(view, position, event)
        self.tell_news(tenant)
        self._waiters.wake(tenant, view.position)

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def wait_for(self, tenant: Tenant, position: Position, timeout_s: float) -> bool:
        """Wait until the view includes `position`. False when that took longer than `timeout_s`."""
        return self.view(tenant).position >= position or await self._waiters.wait(tenant, position, timeout_s)

    async def catch_up(self, tenant: Tenant) -> None:
        """Wait until the view includes every event that was in the log when this was called.

        Raises:
            StoreUnavailable: the log could not be read; the view is as it was.
            Damaged: nor will it be, until it is sound again.
        """
        self.aside.check(tenant)
        await self._catch_ups.join(tenant)

    async def _catch_up(self, tenant: Tenant) -> None:
        head = await self._store.head(tenant)
        self._last_contact_ms = self._steady_ms()
        if head == ORIGIN and not self.knows(tenant):
            return
        if not self.knows(tenant):
            # It has a log, but this reader was not told: announce it again, so that every replica looks after it.
            await self._announce(tenant)
            self.follow(tenant)
        await self.proving.check(tenant, head)
        while self._views[tenant].position < head:
            self.aside.check(tenant)
            view = self._views[tenant]
            tail = await self._store.read({tenant: view.position}, self._list_place, 0)
            if not tail.events and self._views[tenant].position < head:
                await self._store.inspect(tenant)
                raise StoreUnavailable(f"the log of {tenant} ends before its head {head.text()}")
            await self._absorb(tail)

    async def catch_up_all(self, tenants: Sequence[Tenant]) -> None:
        """As `catch_up`, of many tenants, and of those that nobody has told of yet. Raises StoreUnavailable.

        What is damaged is left as it is.
        """
        with contextlib.suppress(Damaged):
            if not self.aside.list_is_damaged:
                tail = await self._store.read({}, self._tenants_after, 0)
                await self.take_up(tail.tenants)
                self._tenants_after = tail.tenants_after
        for some in chunks([tenant for tenant in tenants if tenant not in self.aside.tenants], HEADS_AT_ONCE):
            for tenant, head in zip(some, await self._store.heads(some), strict=True):
                if head != self.view(tenant).position:
                    with contextlib.suppress(Damaged):
                        await self.catch_up(tenant)
