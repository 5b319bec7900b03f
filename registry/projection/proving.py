"""Proving: whether a log is still the one that a view was built from, and whether it holds what its head says."""

from __future__ import annotations

from typing import Final, Protocol

from registry.domain.events import Event
from registry.domain.history import Remembered
from registry.domain.position import Position
from registry.domain.view import RegistryView, Tenant
from registry.projection.aside import Aside
from registry.store.port import Store

#: Events by which a view proves its place in a log. More than come while a store goes over to another server.
PROVE_MAX: Final = 1000


class Views(Protocol):
    """The views of the replica, as far as they are to be proved."""

    @property
    def aside(self) -> Aside: ...

    def view(self, tenant: Tenant) -> RegistryView: ...

    def newest(self, tenant: Tenant, most: int) -> list[Remembered]:
        """The newest events of the view that this replica has seen, eldest first."""

    def read_event(self, tenant: Tenant, position: Position, payload: bytes) -> Event:
        """Raises Damaged; the tenant is set aside then."""

    async def rebuild(self, tenant: Tenant, reason: str) -> None:
        """Replay the log. Raises Damaged, StoreUnavailable."""


class Proving:
    def __init__(self, store: Store, views: Views) -> None:
        self._store = store
        self._views = views
        #: The store's process at the last check.
        self._runs: dict[Tenant, str] = {}
        #: Where views stood when a log's head was last beyond them.
        self._behind: dict[Tenant, Position] = {}

    async def prove(self, tenant: Tenant) -> None:
        """After a break: are the view's newest events still in the log, and the same? Else the log lost its tail.

        It may have grown on since, and been read: so the newest one alone proves nothing.
        """
        view, remembered = self._views.view(tenant), self._views.newest(tenant, PROVE_MAX)
        if not remembered or remembered[-1].position != view.position or tenant in self._views.aside.tenants:
            return
        eldest, newest = remembered[0].position, remembered[-1].position
        at, held = Position(eldest.epoch, eldest.sequence - 1), dict[Position, bytes]()
        while at < newest and (entries := (await self._store.read({tenant: at}, None, 0)).events.get(tenant)):
            held.update(entries)
            at = entries[-1][0]
        begins = min(held, default=newest)  # what is older may have been trimmed
        for known in remembered:
            payload = held.get(known.position)
            if known.position >= begins and (
                payload is None or self._views.read_event(tenant, known.position, payload) != known.event
            ):
                if self._views.view(tenant) is view:
                    await self._views.rebuild(
                        tenant, f"it no longer holds the event applied at {known.position.text()}"
                    )
                return

    async def check(self, tenant: Tenant, head: Position, run: str = "") -> None:
        """Replay the log if it is not the one the view was built from.

        Args:
            head: its newest position. If that is before the view's, the log lost its tail.
            run: the store's process, where this is a pulse. After a change of it the newest events are proved.
        """
        if tenant in self._views.aside.tenants:
            return
        if run and self._runs.get(tenant, run) != run:
            await self.prove(tenant)
        if run:
            self._runs[tenant] = run
        position = self._views.view(tenant).position
        if head < position and (await self._store.head(tenant)) < position:
            # Asked twice: an own write may have been applied after `head` was read.
            await self._views.rebuild(tenant, f"it was at {position.text()}, its newest event is now {head.text()}")
        elif run and head > position:
            if self._behind.get(tenant) == position:
                # The reader has had all the time since the last pulse: nothing can be read up to the head.
                await self._store.inspect(tenant)
            self._behind[tenant] = position
