"""Proving: whether a log is still the one that a view was built from, and whether it holds what its head says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from registry.domain.events import Event
from registry.domain.position import Position
from registry.domain.recent import Remembered
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.projection.aside import Aside
from registry.store.damage import Damaged
from registry.store.port import Store

#: Events by which a view proves its place in a log, and views that do so at once. More than come while a store goes
#: over to another server.
PROVE_MAX: Final = 1000
PROVED_TOGETHER: Final = 16
#: Tenants whose heads are compared in one look, and asked for in one question.
HEADS_AT_ONCE: Final = 250


class Views(Protocol):
    """The views of the replica, as far as they are to be proved."""

    @property
    def aside(self) -> Aside: ...

    @property
    def tenants(self) -> list[Tenant]: ...

    def view(self, tenant: Tenant) -> RegistryView: ...

    def knows(self, tenant: Tenant) -> bool: ...

    def newest(self, tenant: Tenant, most: int) -> list[Remembered]:
        """The newest events of the view that this replica has seen, eldest first."""

    def read_event(self, tenant: Tenant, position: Position, payload: bytes) -> Event:
        """Raises Damaged; the tenant is set aside then."""

    def tell_news(self, tenant: Tenant) -> None:
        """The tenant's log has news."""

    async def rebuild(self, tenant: Tenant, reason: str) -> None:
        """Replay the log. Raises Damaged, StoreUnavailable."""


class Proving:
    def __init__(self, store: Store, views: Views) -> None:
        self._store = store
        self._views = views
        #: Tenants whose heads the present round of looks has not compared yet.
        self._unlooked: list[Tenant] = []
        #: Where views stood when a log's head was last beyond them.
        self._behind: dict[Tenant, Position] = {}

    # -- after a break -------------------------------------------------------------------------------------------------

    async def prove(self, tenants: Sequence[Tenant]) -> None:
        """After a break: are the views' newest events still in the logs, and the same? Else a log lost its tail.

        It may have grown on since, and been read: so the newest one alone proves nothing. Raises StoreUnavailable.
        """
        for some in chunks(tenants, PROVED_TOGETHER):
            views = {tenant: self._views.view(tenant) for tenant in some}
            claims = {tenant: remembered for tenant in some if (remembered := self._claim(tenant))}
            held = await self._held(claims)
            for tenant, entries in held.items():
                with contextlib.suppress(Damaged):
                    position = self._missing(tenant, claims[tenant], entries)
                    if position is not None and self._views.view(tenant) is views[tenant]:
                        reason = f"it no longer holds the event applied at {position.text()}"
                        await self._views.rebuild(tenant, reason)

    def _claim(self, tenant: Tenant) -> list[Remembered]:
        remembered = self._views.newest(tenant, PROVE_MAX)
        at_end = remembered and remembered[-1].position == self._views.view(tenant).position
        return remembered if at_end and tenant not in self._views.aside.tenants else []

    async def _held(self, claims: dict[Tenant, list[Remembered]]) -> dict[Tenant, dict[Position, bytes]]:
        """What the logs hold from the eldest of these events to the newest; of damaged ones nothing is said."""
        held: dict[Tenant, dict[Position, bytes]] = {tenant: {} for tenant in claims}
        after = {tenant: _before(remembered[0].position) for tenant, remembered in claims.items()}
        while after:
            try:
                found = (await self._store.read(after, None, 0)).events
            except Damaged:
                for tenant in [one for one in after if one in self._views.aside.tenants]:
                    del after[tenant], held[tenant]
                continue
            for tenant in list(after):
                entries = found.get(tenant, ())
                held[tenant].update(entries)
                if entries and entries[-1][0] < claims[tenant][-1].position:
                    after[tenant] = entries[-1][0]
                else:
                    del after[tenant]
        return held

    def _missing(
        self, tenant: Tenant, remembered: Sequence[Remembered], held: dict[Position, bytes]
    ) -> Position | None:
        begins = min(held, default=remembered[-1].position)  # what is older may have been trimmed
        for position, event in remembered:
            if position >= begins and (
                position not in held or self._views.read_event(tenant, position, held[position]) != event
            ):
                return position
        return None

    # -- all the time --------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Compare the heads of the next tenants' logs with what is applied here. Raises StoreUnavailable.

        A log that has lost its tail is replayed. One that goes on further is read next: nobody has told of its news,
        or not yet. One that still does at the next look, though nothing was read, does not hold what its head says.
        """
        if not self._unlooked:
            self._unlooked = self._views.tenants
        some = [
            tenant
            for tenant in self._unlooked[-HEADS_AT_ONCE:]
            if tenant not in self._views.aside.tenants and self._views.knows(tenant)
        ]
        del self._unlooked[-HEADS_AT_ONCE:]
        for tenant, head in zip(some, await self._store.heads(some), strict=True):
            if not self._views.knows(tenant):
                continue  # forgotten meanwhile
            position = self._views.view(tenant).position
            with contextlib.suppress(Damaged):
                if head is None or head < position:
                    await self.check(tenant, head)
                elif head > position:
                    if self._behind.get(tenant) == position:
                        await self._store.inspect(tenant)
                    self._behind[tenant] = position
                    self._views.tell_news(tenant)
                else:
                    self._behind.pop(tenant, None)

    async def check(self, tenant: Tenant, head: Position | None) -> bool:
        """Replay the log if it is not the one the view was built from: its newest event is before the view's.

        Args:
            head: None: nothing can be made of it. Raises Damaged, StoreUnavailable.

        Returns:
            Whether it was replayed.
        """
        if tenant in self._views.aside.tenants:
            return False
        position = self._views.view(tenant).position
        if head is None or head < position:
            # Asked again: an own write may have been applied after `head` was read.
            now = await self._store.head(tenant)
            if now < position:
                await self._views.rebuild(tenant, f"it was at {position.text()}, its newest event is now {now.text()}")
                return True
        return False


def chunks(tenants: Sequence[Tenant], size: int) -> Iterator[Sequence[Tenant]]:
    return (tenants[start : start + size] for start in range(0, len(tenants), size))


def _before(position: Position) -> Position:
    return Position(position.epoch, position.sequence - 1)
