"""Streams: how many events the logs hold, looked up now and then, so that nobody who asks waits for the store."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from registry.domain.errors import StoreUnavailable
from registry.projection.projector import Projector
from registry.store.port import Store

#: Seconds from one look to the next, and tenants that are looked at: those with the most instances.
LOOK_EVERY_S: Final = 15.0
TENANTS_MAX: Final = 64


class Streams:
    """The logs of one store."""

    def __init__(self, store: Store, projector: Projector) -> None:
        self._store = store
        self._projector = projector
        #: Of all logs that were looked at, altogether.
        self.events = 0

    async def run(self) -> None:
        """Look until cancelled. What cannot be seen stays as it was seen last."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # an alarm says so
                await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Count the events between the eldest that each log holds and the newest that is applied.

        Raises StoreUnavailable.
        """
        projector, events = self._projector, 0
        views = sorted(map(projector.view, projector.tenants), key=lambda view: view.instance_count, reverse=True)
        for tenant in [view.tenant for view in views[:TENANTS_MAX]]:
            if tenant in projector.aside.tenants:
                continue
            eldest, newest = await self._store.eldest(tenant), projector.view(tenant).position
            if eldest is not None:
                # Each epoch counts anew.
                events += newest.sequence - (eldest[0].sequence - 1 if eldest[0].epoch == newest.epoch else 0)
        self.events = events
