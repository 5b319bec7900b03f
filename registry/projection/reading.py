"""Reading: what the logs hold is brought to the views: at the start, from then on, and when somebody needs it now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.episode import Actions, Episode
from registry.projection.aside import Aside
from registry.projection.following import Following
from registry.projection.proving import HEADS_AT_ONCE, Proving, chunks
from registry.projection.rebuilding import announce
from registry.projection.restoring import Restored, load_newest, salvage
from registry.store.damage import Damaged
from registry.store.port import Store, Tail

logger = logging.getLogger(__name__)

#: How long one read waits for news, ms. Also the longest time after which a lost connection is noticed.
READ_BLOCK_MS: Final = 1000
#: While own writes are all there is, a read waits this long for more of them, and twice as long each time up to the
#: maximum: it costs as much as a commit, and brings what is known. Another replica's write may be seen later by this
#: much, unless it stands before an own one.
OWN_NEWS_PAUSE_S: Final = 0.001
OWN_NEWS_PAUSE_MAX_S: Final = 0.004
#: Logs read together, and snapshots loaded at once, at the start.
STARTED_TOGETHER: Final = 64
#: Seconds between attempts to reach a store that is away.
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 1.0


class Views(Protocol):
    """The views of the replica, as far as they are read for."""

    replica: str
    #: Events applied of this replica, and of all others; set when an own write comes after another replica's.
    own: int
    foreign: int
    overtaken: asyncio.Event
    following: Following
    proving: Proving

    @property
    def aside(self) -> Aside: ...

    @property
    def tenants(self) -> list[Tenant]: ...

    def view(self, tenant: Tenant) -> RegistryView: ...

    def knows(self, tenant: Tenant) -> bool: ...

    def follow(self, tenant: Tenant) -> None:
        """Keep a view of this tenant from now on."""

    def adopt(self, tenant: Tenant, restored: Restored) -> None:
        """Put a view in its place."""

    def leave(self, tenant: Tenant, at: Position) -> bool:
        """Forget the tenant, if its view stands there and is empty. Returns whether it was."""

    async def absorb(self, events: Mapping[Tenant, Sequence[tuple[Position, bytes]]]) -> None:
        """Apply what a read has brought."""

    async def catch_up(self, tenant: Tenant) -> None:
        """Wait until the view includes every event that was in the log when this was called."""


class Reading:
    """The reads of one replica.

    Args:
        clock: tells for how long the store has been silent.
    """

    def __init__(self, store: Store, views: Views, clock: Clock) -> None:
        self._store = store
        self._views = views
        #: That the log cannot be read.
        self.away = Episode(logger, Actions("store_away", "store_back"), steady_ms=clock.steady_ms)
        self._tenants_after = ""
        #: Whether the views have to prove their places in the logs, because a read has failed.
        self._doubtful = False
        self._steady_ms = clock.steady_ms
        self._last_contact_ms = self._steady_ms()

    @property
    def silent_s(self) -> float:
        """Seconds since the store last answered. It is asked all the time, so some seconds mean that it is away."""
        return (self._steady_ms() - self._last_contact_ms) / 1000

    def heard_since(self, steady_ms: int) -> bool:
        """Whether the store has answered this replica after that moment of the steady clock."""
        return self._last_contact_ms > steady_ms

    def doubt(self) -> None:
        """A read has failed: more may have been lost than is seen."""
        self._doubtful = True

    # -- at the start --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Replay every log to its tail, or to what is damaged in it. Raises StoreUnavailable."""
        while True:
            try:
                tail = await self._read(0)
            except Damaged:
                continue  # it is set aside, and the next read does without it
            if tail.events or tail.tenants or tail.gone:
                await self._absorb(tail)
            elif not await self._views.aside.settle():
                break
        for some in chunks(self._views.tenants, STARTED_TOGETHER):
            await self._read_to_the_end(some)
        await self._views.aside.settle()

    async def _read_to_the_end(self, tenants: Sequence[Tenant]) -> None:
        while True:
            sound = [tenant for tenant in tenants if tenant not in self._views.aside.tenants]
            after = {tenant: self._views.view(tenant).position for tenant in sound}
            try:
                tail = await self._store.read(after, None, 0, follow=True)
            except Damaged:
                continue
            if not tail.events:
                return
            await self._views.absorb(tail.events)

    # -- from then on --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the logs until cancelled; a store that is away is asked again."""
        views = self._views
        retry_s = RETRY_FIRST_S
        pause_s = 0.0
        own = 0
        while True:
            try:
                if self._doubtful:
                    self._doubtful = False
                    await views.proving.prove(views.tenants)
                foreign, writing, own = views.foreign, views.own != own, views.own
                views.overtaken.clear()
                # To wait for news while we write them is to be sent each of them.
                tail = await self._read(0 if writing else READ_BLOCK_MS)
                await self._absorb(tail)
                self.away.ends("Redis is back")
                if views.foreign == foreign and (writing or tail.events):
                    pause_s = min(max(2 * pause_s, OWN_NEWS_PAUSE_S), OWN_NEWS_PAUSE_MAX_S)
                    await self._pause(pause_s)
                else:
                    pause_s = 0.0
                retry_s = RETRY_FIRST_S
            except Damaged:
                continue  # as at the start
            except StoreUnavailable as error:
                self.doubt()
                self.away.occurs("the log cannot be read: %s", error.detail, since_ms=self._last_contact_ms)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def _pause(self, pause_s: float) -> None:
        """Wait, but no longer than until an own write tells that another replica's stands before it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._views.overtaken.wait()

    async def _read(self, block_ms: int) -> Tail:
        tail = await self._store.read(self._views.following.lively(), self._list_place, block_ms, follow=True)
        self._last_contact_ms = self._steady_ms()
        return tail

    @property
    def _list_place(self) -> str | None:
        """Where to go on with the list of tenants, if it can be read."""
        return None if self._views.aside.list_is_damaged else self._tenants_after

    async def _absorb(self, tail: Tail) -> None:
        await self._follow_list(tail)
        await self._views.absorb(tail.events)

    async def _follow_list(self, tail: Tail) -> None:
        await self.take_up(tail.tenants)
        for tenant, at in tail.gone:
            if self._views.knows(tenant) and not self._views.leave(tenant, at):
                await announce(self._store, tenant)  # something was written to it meanwhile
        self._tenants_after = tail.tenants_after

    # -- tenants -------------------------------------------------------------------------------------------------------

    async def take_up(self, tenants: Sequence[Tenant]) -> bool:
        """Follow those of the tenants that are not known. Returns whether there were any."""
        new = [tenant for tenant in dict.fromkeys(tenants) if not self._views.knows(tenant)]
        for some in chunks(new, STARTED_TOGETHER):
            found = await asyncio.gather(*(self._load(tenant) for tenant in some))
            for tenant, restored in zip(some, found, strict=True):
                if not self._views.knows(tenant):
                    self._views.adopt(tenant, restored)
        return bool(new)

    async def _load(self, tenant: Tenant) -> Restored:
        try:
            return await load_newest(self._store, tenant)
        except Damaged as damage:
            self._views.aside.put(damage)
            return await salvage(self._store, tenant, self._views.replica)

    # -- when somebody needs it now ------------------------------------------------------------------------------------

    async def catch_up(self, tenant: Tenant) -> None:
        """Bring the view to the tail that the log has now. Raises StoreUnavailable, Damaged."""
        views = self._views
        head = await self._store.head(tenant)
        self._last_contact_ms = self._steady_ms()
        if head == ORIGIN and not views.knows(tenant):
            return
        if not views.knows(tenant):
            # It has a log, but this reader was not told: announce it again, so that every replica looks after it.
            await announce(self._store, tenant)
            views.follow(tenant)
        if await views.proving.check(tenant, head):
            head = await self._store.head(tenant)
        while views.view(tenant).position < head:
            views.aside.check(tenant)
            tail = await self._store.read({tenant: views.view(tenant).position}, self._list_place, 0)
            if not tail.events and views.view(tenant).position < head:
                head = await self._head_now(tenant, head)
            await self._absorb(tail)

    async def _head_now(self, tenant: Tenant, head: Position) -> Position:
        """Where a log ends in which nothing was found up to its head: it may have gone meanwhile (`clearing`)."""
        await self._store.inspect(tenant)
        now = await self._store.head(tenant)
        if now >= head:
            raise StoreUnavailable(f"the log of {tenant} ends before its head {head.text()}")
        return now

    async def catch_up_all(self, tenants: Sequence[Tenant]) -> None:
        """As `Projector.catch_up`, of many tenants, and of those that nobody has told of yet. Raises StoreUnavailable.

        What is damaged is left as it is.
        """
        views = self._views
        with contextlib.suppress(Damaged):
            if not views.aside.list_is_damaged:
                tail = await self._store.read({}, self._tenants_after, 0)
                await self._follow_list(tail)
        for some in chunks([tenant for tenant in tenants if tenant not in views.aside.tenants], HEADS_AT_ONCE):
            for tenant, head in zip(some, await self._store.heads(some), strict=True):
                if head != views.view(tenant).position:
                    with contextlib.suppress(Damaged):
                        await views.catch_up(tenant)
