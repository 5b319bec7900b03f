"""Rebuilding: a log that contradicts its view is replayed, and the view that comes of it takes the old one's place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import Final, Protocol

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.recent import Recent
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.episode import Actions, Episode
from registry.projection.aside import Aside
from registry.projection.mending import Mending
from registry.projection.restoring import Restored
from registry.store.damage import Damaged
from registry.store.port import HistoryChanged, Store

logger = logging.getLogger(__name__)

#: Times a log is replayed that moves while what it lost is put back.
REBUILDS_MAX: Final = 20
#: Of those, the ones in which there is time for a snapshot.
PATIENT_MAX: Final = 5


class Views(Protocol):
    """The views of the replica, as far as they are rebuilt."""

    @property
    def aside(self) -> Aside: ...

    def view(self, tenant: Tenant) -> RegistryView: ...

    def recent(self, tenant: Tenant) -> Recent:
        """The newest events of the view."""

    def adopt(self, tenant: Tenant, restored: Restored) -> None:
        """Put a view in the place of the present one."""


class Rebuilding:
    """The replays of one replica: one per tenant at a time, which all who need it share."""

    def __init__(self, store: Store, views: Views, mending: Mending, clock: Clock) -> None:
        self._store = store
        self._views = views
        self._mending = mending
        self._under_way: dict[Tenant, asyncio.Task[None]] = {}
        changed = Actions("log_changed", "log_replayed")
        self._changed: defaultdict[Tenant, Episode] = defaultdict(
            lambda: Episode(logger, changed, level=logging.ERROR, steady_ms=clock.steady_ms)
        )
        #: Views that another has taken the place of.
        self.rebuilt = 0

    async def rebuild(self, tenant: Tenant, reason: str, before_ms: int | None = None) -> None:
        """See `Projector.rebuild`."""
        task = self._under_way.get(tenant)
        if task is None:
            if reason:
                self._changed[tenant].occurs(
                    "the log of %s changed, replaying it: %s", tenant, reason, tenant=str(tenant)
                )
            task = self._under_way[tenant] = asyncio.create_task(self._rebuild(tenant, before_ms))
            task.add_done_callback(lambda _: self._under_way.pop(tenant))
        await asyncio.shield(task)

    async def _rebuild(self, tenant: Tenant, before_ms: int | None) -> None:
        for attempt in range(REBUILDS_MAX):
            with contextlib.suppress(HistoryChanged):
                await announce(self._store, tenant)  # what lost the log may have lost its announcement
                try:
                    view, recent = self._views.view(tenant), self._views.recent(tenant)
                    restored = await self._mending.restore(view, recent, before_ms, attempt >= PATIENT_MAX)
                except Damaged as damage:
                    if before_ms is None:  # else the log is read only to see whether this view is right
                        self._views.aside.put(damage)
                    raise
                if restored is not None:
                    self._views.adopt(tenant, restored)
                    self.rebuilt += 1
                self._changed[tenant].ends("the log of %s is replayed", tenant, tenant=str(tenant))
                return
        raise StoreUnavailable(f"the log of {tenant} changes faster than it can be replayed")


async def announce(store: Store, tenant: Tenant) -> None:
    """Tell every replica of a tenant that has a log, unless the list of tenants is damaged."""
    with contextlib.suppress(Damaged):
        await store.add_tenant(tenant)
