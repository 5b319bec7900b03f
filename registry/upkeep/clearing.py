"""Clearing: what forgotten tenants leave in the store goes when the time has passed for which history is kept.

The log of the list of tenants, too, keeps only the last word on each: every tenant that is forgotten and comes back
adds two entries. Every replica looks; what one has done the others find done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice
from typing import Final

from registry.domain.errors import StoreUnavailable
from registry.domain.tenant import Tenant
from registry.projection.projector import Projector
from registry.projection.rebuilding import announce
from registry.store.damage import Damaged
from registry.store.port import Notice, Store

logger = logging.getLogger(__name__)

#: Seconds between looks, entries of the list that are read at once, and tenants that are cleared in one look.
LOOK_EVERY_S: Final = 3600.0
READ_MAX: Final = 1000
PER_LOOK: Final = 5000
#: The shortest time (ms) that a forgotten tenant's log stays: every replica that lives has heard by then.
KEPT_LEAST_MS: Final = 3_600_000


class Clearing:
    """One replica's part in it.

    Args:
        history_ms: how far back history is kept.
    """

    def __init__(self, store: Store, projector: Projector, history_ms: int) -> None:
        self._store = store
        self._projector = projector
        self._kept_ms = max(history_ms, KEPT_LEAST_MS)
        #: Tenants of which this replica has cleared what was left.
        self.cleared = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Strike what is not the last word on a tenant, and clear those that have been off the list for long."""
        if self._projector.aside.list_is_damaged:
            return
        try:
            newest = await self._last_words()
            gone = (one for one in newest if one.gone_at is not None and one.age_ms >= self._kept_ms)
            await self._clear(islice(gone, PER_LOOK))
        except StoreUnavailable as error:
            logger.info("what forgotten tenants leave is kept: %s", error.detail, extra={"action": "clear_failed"})

    async def _last_words(self) -> list[Notice]:
        """The newest notice of each tenant. The others are struck."""
        newest: dict[Tenant, Notice] = {}
        outdated: list[str] = []
        after = ""
        while notices := await self._store.leftovers.notices(after, READ_MAX):
            for notice in notices:
                earlier = newest.pop(notice.tenant, None)
                if earlier is not None:
                    outdated.append(earlier.entry)
                newest[notice.tenant] = notice
            after = notices[-1].entry
            await asyncio.sleep(0)
        if outdated:
            await self._store.leftovers.strike(outdated)
        return list(newest.values())

    async def _clear(self, gone: Iterable[Notice]) -> None:
        for entry, tenant, at, _ in gone:
            assert at is not None
            try:
                if await self._store.leftovers.clear(tenant, at):
                    await self._store.leftovers.strike([entry])
                    self.cleared += 1
                    logger.info(
                        "what was left of %s is deleted",
                        tenant,
                        extra={"action": "tenant_cleared", "tenant": str(tenant)},
                    )
                else:
                    await announce(self._store, tenant)  # it is back, or should be: something was written to it
            except Damaged:
                continue  # `registry repair` is for that
