"""Walk: from one state on along a log, event by event, and across the places where it was seeded with another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from registry.domain.clone import clone
from registry.domain.events import Event
from registry.domain.marks import Mark
from registry.domain.outcome import NOTHING, Outcome
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.cache import Kept
from registry.history.moments import When
from registry.projection.restoring import apply_or_tell, begins_anew, follows, load_mark, pass_over, read_event
from registry.store.port import HistoryChanged, PastLog


class Applied(NamedTuple):
    """One event that was applied to the view that is walked."""

    position: Position
    event: Event
    outcome: Outcome


class Walk:
    """From one state on along the log, event by event. The view is its own, and changes as it goes.

    Args:
        head: where the log ended when the walk was asked for. One that ends before has lost something meanwhile.
    """

    def __init__(self, store: PastLog, base: Kept, head: Position) -> None:
        self._store = store
        self._base = base
        self._head = head
        self._view: RegistryView | None = None
        self._payload = base.payload
        #: The newest event is one with which the log was seeded: the view is not what the events before it led to.
        self.began_anew = False

    @property
    def base(self) -> RegistryView:
        """Where it begins."""
        return self._base.view

    @property
    def view(self) -> RegistryView:
        return self._view if self._view is not None else self._base.view

    @property
    def moved(self) -> bool:
        return self._view is not None

    @property
    def reached(self) -> Kept:
        return Kept(self.view, self._payload)

    async def until(self, when: When) -> AsyncIterator[Applied]:
        """Apply the events up to and at that time, or to the end of the log.

        Raises:
            HistoryChanged: the log was trimmed or mended meanwhile, or has lost what it held; begin anew.
            StoreUnavailable, Damaged
        """
        tenant = self._base.view.tenant
        while entries := (await self._store.read({tenant: self.view.position}, None, 0)).events.get(tenant):
            for position, payload in entries:
                event = read_event(self._store, tenant, position, payload)
                is_next = await self._is_next(position, event)
                if not when.reaches(position, max(self.view.moment_ms, event.at_ms)):
                    return
                yield await self._apply(position, payload, event, is_next)
            await asyncio.sleep(0)
        if self.view.position < self._head:
            raise HistoryChanged(f"the log ends at {self.view.position.text()}, and ended at {self._head.text()}")

    async def _is_next(self, position: Position, event: Event) -> bool:
        """Whether it follows what was applied last; False: the log was seeded with it. Raises HistoryChanged."""
        is_next = follows(self.view.position, position, event)
        if not is_next and not (begins_anew(position, event) and await self._stands()):
            raise HistoryChanged(f"{self.view.position.text()} is followed by {position.text()}")
        return is_next

    async def _apply(self, position: Position, payload: bytes, event: Event, is_next: bool) -> Applied:
        outcome, self.began_anew = NOTHING, not is_next
        if is_next:
            outcome = apply_or_tell(self._store, self._own(), position, event)
        else:
            self._view = await self._seeded(self.view.tenant, position)
        self._payload = payload
        return Applied(position, event, outcome)

    def _own(self) -> RegistryView:
        """The view, to be changed."""
        if self._view is None:
            self._view = clone(self._base.view)
        return self._view

    async def _stands(self) -> bool:
        """Whether the log still holds the event that was applied last, so that nothing behind it is gone."""
        position = self.view.position
        return await self._store.entry(self.view.tenant, position) == self._payload

    async def _seeded(self, tenant: Tenant, position: Position) -> RegistryView:
        """The state with which the log was seeded here, in place of what it had led to. Raises HistoryBroken."""
        for mark in await self._store.snapshots.marks(tenant):
            if mark.position == position:
                try:
                    return await self._load(tenant, mark)
                except SnapshotUnreadable as why:
                    pass_over(mark, tenant, why)
        raise HistoryBroken(position)

    async def _load(self, tenant: Tenant, mark: Mark) -> RegistryView:
        return (await load_mark(self._store, tenant, mark)).view


async def check(store: PastLog, kept: Kept) -> None:
    """Raise HistoryChanged if the log has lost the event at which the view stands: it may never have led there."""
    if kept.view.position != ORIGIN:
        await check_event(store, kept.view.tenant, kept.view.position, kept.payload)


async def check_event(store: PastLog, tenant: Tenant, position: Position, payload: bytes) -> None:
    """Raise HistoryChanged if the log holds another event there, or has lost it."""
    stands = await store.entry(tenant, position)
    if stands is not None and stands != payload:
        raise HistoryChanged(f"the log holds another event at {position.text()}")
    if stands is None:  # it may be trimmed
        eldest = await store.eldest(tenant)
        if position > await store.head(tenant) or (eldest is not None and eldest[0] <= position):
            raise HistoryChanged(f"the log has lost the event at {position.text()}")


class HistoryBroken(HistoryChanged):
    """What is kept before this position leads nowhere: the log was seeded there with a state that is not kept."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"nothing leads to {position.text()}, with which the log was seeded")
        self.position = position
