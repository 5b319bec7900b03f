"""Newest: the latest events of a tenant with what came of them, so that questions about lately read no log anew.

They are reached by one walk that goes on with each question, from a snapshot some way back to the end of the log.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from registry.domain.events import Event
from registry.domain.model import Microservice
from registry.domain.outcome import Outcome
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.choice import service_of
from registry.history.moments import END, When
from registry.history.past import Past
from registry.history.told import subject
from registry.history.walk import Walk

#: Events kept of a tenant, their bytes as they are counted here, and tenants of which some are kept.
EVENTS_MAX: Final = 100_000
BYTES_MAX: Final = 64 * 1024 * 1024
TENANTS_MAX: Final = 4
#: Of an event beside the content that it led to.
EVENT_BYTES: Final = 600
#: Events after which other questions get a turn.
TURN_EVENTS: Final = 500


class Lately(NamedTuple):
    """One event. `moment_ms`: what the log had reached with it."""

    position: Position
    moment_ms: int
    event: Event
    outcome: Outcome
    service: Microservice | None


class Newest:
    """The newest events of one tenant: all behind `begins`."""

    def __init__(self, walk: Walk, most: int) -> None:
        self._walk = walk
        self._most = most
        self.begins = walk.view.position
        self._events: deque[Lately] = deque()
        self._of_service: defaultdict[str, deque[Lately]] = defaultdict(deque)
        self._bytes = 0

    @property
    def view(self) -> RegistryView:
        """The state at the end of the log. It changes with the next question."""
        return self._walk.view

    async def follow(self) -> None:
        """Go on to the end of the log. Raises HistoryChanged, StoreUnavailable, Damaged."""
        number = 0
        async for position, event, outcome in self._walk.until(END):
            view = self._walk.view
            self._add(Lately(position, view.moment_ms, event, outcome, service_of(view, event, outcome)))
            number += 1
            if number % TURN_EVENTS == 0:
                await asyncio.sleep(0)

    def _add(self, lately: Lately) -> None:
        self._events.append(lately)
        self._of_service[_service_id(lately)].append(lately)
        self._bytes += _weigh(lately)
        while len(self._events) > self._most or self._bytes > BYTES_MAX:
            eldest = self._events.popleft()
            of_service = self._of_service[_service_id(eldest)]
            of_service.popleft()
            if not of_service:
                del self._of_service[_service_id(eldest)]
            self._bytes -= _weigh(eldest)
            self.begins = eldest.position

    def backwards(self, service_id: str) -> Iterator[Lately]:
        """Newest first; those that may be about one microservice, or all of them."""
        if not service_id:
            return reversed(self._events)
        others = self._of_service.get("", ())
        found: Sequence[Lately] = [*self._of_service.get(service_id, ()), *others]
        return iter(sorted(found, key=_position, reverse=True) if others else found[::-1])


def _position(lately: Lately) -> Position:
    return lately.position


def _service_id(lately: Lately) -> str:
    """By it an event is looked up; "": it is looked at whatever is asked about, as it may be about two."""
    service_id, instance_id = subject(lately.event)
    merged = not instance_id and lately.outcome.id not in ("", service_id)
    return "" if merged else service_id


def _weigh(lately: Lately) -> int:
    return EVENT_BYTES + sum(len(change.row.body) for change in lately.outcome.changes)


class NewestOf:
    """The newest events of the tenants that were asked about lately."""

    def __init__(self, past: Past, most: int = EVENTS_MAX) -> None:
        self._past = past
        self._most = most
        self._newest: OrderedDict[Tenant, Newest] = OrderedDict()
        #: Of the tenants whose logs are being read: one question reads, the others wait for it.
        self._reading: dict[Tenant, asyncio.Future[None]] = {}

    async def of(self, tenant: Tenant) -> Newest:
        """Those up to the end of the log. Nothing may be awaited while they are looked at."""
        while (reading := self._reading.get(tenant)) is not None:
            await asyncio.wait((reading,))
        done = self._reading[tenant] = asyncio.get_running_loop().create_future()
        try:
            return await self._read(tenant)
        finally:
            del self._reading[tenant]
            done.set_result(None)

    async def _read(self, tenant: Tenant) -> Newest:
        newest = self._newest.pop(tenant, None)  # one that fails on the way is not whole
        if newest is None:
            newest = Newest(await self._past.walker(tenant, await self._start(tenant)), self._most)
        await newest.follow()
        if newest.view.position == ORIGIN:
            return newest  # of a tenant that nobody has written to, and perhaps made up
        self._newest[tenant] = newest
        while len(self._newest) > TENANTS_MAX:
            self._newest.popitem(last=False)
        return newest

    async def _start(self, tenant: Tenant) -> When:
        """The nearest state from which on there are enough events."""
        head = await self._past.head(tenant)
        stretches = await self._past.stretches(tenant)
        for stretch in stretches:
            if stretch.start.epoch != head.epoch or head.sequence - stretch.start.sequence >= self._most:
                return When(position=stretch.start)
        return When(position=stretches[-1].start if stretches else head)

    def clear(self) -> None:
        self._newest.clear()
