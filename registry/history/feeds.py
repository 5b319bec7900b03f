"""Feeds: events as they happen, exactly once and in order, for any number of clients of one replica.

Each event is told once, when the projector applies it, and kept for a while in a list per tenant that has feeds. A
feed is a place in the log: it goes on from that list when the list reaches back to the place, and else reads the log,
so nothing that the list lacks is missed. A client that reads slowly falls behind the list, and then reads the log too.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from registry.domain.errors import Overloaded
from registry.domain.events import Event
from registry.domain.model import Microservice
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.history.choice import Choice, service_of
from registry.history.told import encode_told, kind_of, tell
from registry.projection.projector import Projector
from registry.projection.restoring import begins_anew

#: Feeds of one replica; one more is refused.
FEEDS_MAX: Final = 10_000
#: Events kept of each tenant that has feeds, and their bytes.
KEPT_MAX: Final = 10_000
KEPT_MAX_BYTES: Final = 16 * 1024 * 1024
#: Seconds for which they are kept after the last feed has ended: clients come back.
KEPT_S: Final = 60.0
#: Events that a feed hands out at once.
AT_ONCE_MAX: Final = 500
#: Events dropped together from the front of the list.
_DROPPED: Final = KEPT_MAX // 10


class Item(NamedTuple):
    """One event for a client. `json`: as `told.Told`."""

    position: str
    kind: str
    json: bytes


class Passage(NamedTuple):
    """Events read from the log, and the place up to which it was read."""

    items: Sequence[Item]
    reached: Position


#: Reads the log behind a place. Raises BeforeHistory, StoreUnavailable.
Read = Callable[[Position], Awaitable[Passage]]


class _Kept(NamedTuple):
    position: Position
    event: Event
    outcome: Outcome
    service: Microservice | None
    item: Item


class _Newest:
    """The newest events of one tenant: all behind `begins`."""

    def __init__(self, begins: Position) -> None:
        self.begins = begins
        self.feeds = 0
        self._events: list[_Kept] = []
        self._bytes = 0
        #: Replaced with every piece of news.
        self.news = asyncio.Event()
        self.forgetting: asyncio.TimerHandle | None = None

    def add(self, kept: _Kept) -> None:
        self._events.append(kept)
        self._bytes += len(kept.item.json)
        while len(self._events) > KEPT_MAX or (self._bytes > KEPT_MAX_BYTES and self._events):
            dropped = self._events[:_DROPPED]
            del self._events[:_DROPPED]
            self.begins = dropped[-1].position
            self._bytes -= sum(len(each.item.json) for each in dropped)
        self.wake()

    def begin_anew(self, at: Position) -> None:
        """Another view has taken the place of the one whose events these are."""
        self._events, self._bytes, self.begins = [], 0, at
        self.wake()

    def behind(self, position: Position) -> Sequence[_Kept] | None:
        """The next events; None: they are not all here."""
        if position < self.begins:
            return None
        start = bisect_right(self._events, position, key=lambda kept: kept.position)
        return self._events[start : start + AT_ONCE_MAX]

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Feeds:
    """The feeds of one replica."""

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self._newest: dict[Tenant, _Newest] = {}
        self.count = 0
        self.closed = False
        projector.listen(self._note)
        projector.listen_for_rebuilds(self._begin_anew)

    def open(self, tenant: Tenant, after: Position, choice: Choice, read: Read) -> Feed:
        """A feed of what comes behind a place. To be closed. Raises Overloaded."""
        if self.count >= FEEDS_MAX:
            raise Overloaded(f"this replica has {FEEDS_MAX} feeds already")
        newest = self._newest.get(tenant)
        if newest is None:
            newest = self._newest[tenant] = _Newest(self._projector.view(tenant).position)
        if newest.forgetting is not None:
            newest.forgetting.cancel()
        newest.feeds += 1
        self.count += 1
        return Feed(self, tenant, after, choice, read)

    def close(self) -> None:
        """The replica stops: all feeds end, and their clients come back to another one."""
        self.closed = True
        for newest in self._newest.values():
            newest.wake()

    def newest(self, tenant: Tenant) -> _Newest:
        return self._newest[tenant]

    def leave(self, tenant: Tenant) -> None:
        newest = self._newest[tenant]
        newest.feeds -= 1
        self.count -= 1
        if not newest.feeds:
            forget = self._newest.pop
            newest.forgetting = asyncio.get_running_loop().call_later(KEPT_S, forget, tenant, None)

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        newest = self._newest.get(tenant)
        if newest is not None:
            if begins_anew(position, event):
                newest.begin_anew(position)  # where each feed was before, its log has to say
                return
            service = service_of(self._projector.view(tenant), event, outcome)
            told = encode_told(tell(position, event, outcome, service))
            newest.add(_Kept(position, event, outcome, service, Item(position.text(), kind_of(event), told)))

    def _begin_anew(self, tenant: Tenant) -> None:
        newest = self._newest.get(tenant)
        if newest is not None:
            newest.begin_anew(self._projector.view(tenant).position)


class Feed:
    """One client's place in a log, and what it wants of it."""

    def __init__(self, feeds: Feeds, tenant: Tenant, after: Position, choice: Choice, read: Read) -> None:
        self._feeds = feeds
        self._tenant = tenant
        self._choice = choice
        self._read = read
        self._open = True
        self._dropped = False
        #: Everything up to here has been handed out, or is not wanted.
        self.position = after

    @property
    def ended(self) -> bool:
        """Nothing more comes."""
        return self._dropped or self._feeds.closed

    async def next(self, timeout_s: float) -> list[Item]:
        """The next events, at least one of them; none when there was no news for that time, or the feed has ended.

        Raises:
            BeforeHistory: what comes next is not kept any more.
            StoreUnavailable: it cannot be read now.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self.ended:
            newest = self._feeds.newest(self._tenant)
            news, found = newest.news, newest.behind(self.position)
            if found is None:
                items = await self.catch_up()
            else:
                items = [self._item(kept) for kept in found if self._takes(kept)]
                self.position = found[-1].position if found else self.position
            if items:
                return items
            if found is not None and not found:
                try:
                    async with asyncio.timeout_at(deadline):
                        await news.wait()
                except TimeoutError:
                    break
        return []

    async def catch_up(self) -> list[Item]:
        """The next events, if they have to be read from the log. Raises as `next`."""
        items: Sequence[Item] = ()
        while not items and self._feeds.newest(self._tenant).behind(self.position) is None:
            items, self.position = await self._read(self.position)
        return list(items)

    def _takes(self, kept: _Kept) -> bool:
        return self._choice.takes(kept.event, kept.outcome, kept.service)

    def _item(self, kept: _Kept) -> Item:
        seen = self._choice.seen(kept.outcome)
        if seen is kept.outcome:
            return kept.item
        told = tell(kept.position, kept.event, seen, kept.service)
        return kept.item._replace(json=encode_told(told))

    def drop(self) -> None:
        """End it: the one who opened it may not have it any more."""
        self._dropped = True
        self._feeds.newest(self._tenant).wake()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._feeds.leave(self._tenant)
