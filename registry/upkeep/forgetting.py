"""Forgetting: a tenant that has been empty for long is taken off the list, and out of every replica's memory.

Its log stays where it is for as long as history is kept (`clearing`). Anyone who asks for it in earnest - writes to it,
or would be told that something does not exist - has it announced again, and it comes back whole.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import Final

from registry.clock import Clock
from registry.domain.emptiness import is_empty, may_be_forgotten
from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN
from registry.domain.tenant import Tenant
from registry.projection.projector import Projector
from registry.store.port import Store

logger = logging.getLogger(__name__)

#: Seconds between looks, and tenants that are forgotten in one of them.
LOOK_EVERY_S: Final = 60.0
PER_LOOK: Final = 500


class Forgetting:
    """One replica's part in it. All of them look; who comes first takes the tenant off the list.

    Args:
        after_ms: for how long a tenant has to be empty.
    """

    def __init__(self, store: Store, projector: Projector, clock: Clock, after_ms: int) -> None:
        self._store = store
        self._projector = projector
        self._clock = clock
        self._after_ms = after_ms
        #: Since when tenants are known to be empty, beside what their logs say, Unix ms; 0: since before the start.
        self._seen_ms: dict[Tenant, int] = {}
        self._has_looked = False
        #: Tenants that this replica took off the list.
        self.forgotten = 0
        projector.listen_for_leaves(self._leave)

    def _leave(self, tenant: Tenant) -> None:
        self._seen_ms.pop(tenant, None)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Take those off the list that have been empty for long."""
        if self._projector.aside.list_is_damaged:
            return
        now_ms = self._clock.wall_ms()
        empty = [tenant for tenant in self._projector.tenants if is_empty(self._projector.view(tenant))]
        # One that was asked for again is kept for as long as one that has just become empty: else each question would
        # have it announced and forgotten once more.
        new_ms = now_ms if self._has_looked else 0
        self._seen_ms = {tenant: self._seen_ms.get(tenant, new_ms) for tenant in empty}
        for tenant in empty:
            if self._projector.view(tenant).position == ORIGIN:
                self._seen_ms[tenant] = self._seen_ms[tenant] or now_ms
        self._has_looked = True
        due = (tenant for tenant in empty if self._is_due(tenant, now_ms))
        try:
            for tenant in islice(due, PER_LOOK):
                await self._forget(tenant)
        except StoreUnavailable as error:
            logger.info("empty tenants are not forgotten: %s", error.detail, extra={"action": "forget_failed"})

    def _is_due(self, tenant: Tenant, now_ms: int) -> bool:
        if tenant in self._projector.aside.tenants:
            return False
        return may_be_forgotten(self._projector.view(tenant), self._seen_ms[tenant], now_ms, self._after_ms)

    async def _forget(self, tenant: Tenant) -> None:
        position = self._projector.view(tenant).position
        # What was written meanwhile is read first. What is written from here on stands behind the position, by which
        # every reader knows that the tenant is not empty any more, and puts it on the list again.
        if await self._store.head(tenant) == position and await self._store.forget_tenant(tenant, position):
            self.forgotten += 1
            logger.info(
                "%s is empty and forgotten", tenant, extra={"action": "tenant_forgotten", "tenant": str(tenant)}
            )
