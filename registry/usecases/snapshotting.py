"""Snapshotting: now and then one replica writes each tenant's view to the store and drops the log that it stands for.

So a start costs the newest snapshot and the events after it, however long the log has been. One replica at a time does
it. A tenant is due when so many events have come that reading them would cost as much as reading a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import encode_event
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import Mark, take
from registry.domain.view import RegistryView, Tenant
from registry.projection.projector import Projector
from registry.projection.saving import save
from registry.store.port import Store

logger = logging.getLogger(__name__)

#: Seconds between looks whether a snapshot is due.
LOOK_EVERY_S: Final = 5.0
#: The right to write, ms. It is asked for again with every tenant.
HOLD_MS: Final = 120_000
#: At a stop, so many events are enough for a last snapshot.
EVENTS_AT_STOP: Final = 1000
#: Snapshots that reach back as far as history is kept are spaced so that there are about so many.
HISTORY_STEPS: Final = 4
#: An event's entry costs a start about as much as so many instances of a snapshot.
INSTANCES_PER_EVENT: Final = 4


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept, by count and by age.

    `every_events`: a snapshot is due after so many, or more where there are many instances. `snapshots`: so many of the
    newest stay. `history_ms`: beyond them, enough stay for the log to reach back so far (0: no further than they do).
    """

    every_events: int = 10_000
    snapshots: int = 2
    history_ms: int = 0

    def keep(self, marks: Sequence[Mark], now_ms: int) -> list[Mark]:
        """Those of the snapshots, newest first, that stay."""
        ordered = sorted(marks, key=lambda mark: mark.position, reverse=True)
        kept = ordered[: self.snapshots]
        for mark in ordered[self.snapshots :]:
            if now_ms - kept[-1].at_ms >= self.history_ms:
                break
            next_older = ordered[ordered.index(mark) + 1 :][:1]
            if not next_older or kept[-1].at_ms - next_older[0].at_ms > self.history_ms // HISTORY_STEPS:
                kept.append(mark)
        return kept


@dataclass(slots=True)
class SnapshotStats:
    written: int = 0
    trimmed: int = 0
    #: Of the newest one written here: bytes in the store, and how long it took (ms).
    size: int = 0
    took_ms: int = 0


class Snapshotting:
    """One replica's part in writing snapshots."""

    def __init__(self, store: Store, projector: Projector, clock: Clock, retention: Retention) -> None:
        self._store = store
        self._projector = projector
        self._clock = clock
        self._retention = retention
        #: What other replicas were last known to have applied; set by `agreement`.
        self.readers: dict[Tenant, dict[str, Position]] = {}
        #: Tenants of which no snapshot may be taken here, because replicas differ.
        self.distrusted: set[Tenant] = set()
        self._newest: dict[Tenant, Position] = {}
        self.stats = SnapshotStats()

    async def run(self) -> None:
        """Look after every tenant until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for tenant in self._projector.tenants:
                await self._look(tenant, self._retention.every_events)

    async def leave(self) -> None:
        """The replica stops: write what is due, so that the next start is short."""
        for tenant in self._projector.tenants:
            await self._look(tenant, EVENTS_AT_STOP)

    async def _look(self, tenant: Tenant, events: int) -> None:
        try:
            await self.write(tenant, events)
        except StoreUnavailable as error:
            logger.warning(
                "no snapshot of %s: %s",
                tenant,
                error.detail,
                extra={"action": "snapshot_failed", "tenant": str(tenant)},
            )

    def _is_due(self, view: RegistryView, events: int) -> bool:
        epoch, sequence = view.position
        newest = self._newest.get(view.tenant, ORIGIN)
        since = sequence - (newest.sequence if newest.epoch == epoch else 0)
        return since > 0 and since >= max(events, view.instance_count // INSTANCES_PER_EVENT)

    async def write(self, tenant: Tenant, events: int) -> Mark | None:
        """Write a snapshot if so many events have come since the newest and this replica is the one to do it.

        Then drop what is not needed any more. Raises StoreUnavailable.
        """
        view = self._projector.view(tenant)
        if not self._is_due(view, events) or tenant in self.distrusted:
            return None
        if not await self._store.snapshots.hold(tenant, self._projector.replica, HOLD_MS):
            return None
        marks = await self._store.snapshots.marks(tenant)
        self._newest[tenant] = max((mark.position for mark in marks), default=ORIGIN)
        view = self._projector.view(tenant)
        newest = self._projector.newest_event(tenant)
        if newest is None or not self._is_due(view, events):
            return None
        began = self._clock.steady_ms()
        position = view.position
        chunks = take(view, encode_event(newest))
        mark = await save(self._store, tenant, position, chunks, self._clock.wall_ms(), self._projector.replica)
        if mark is None:
            return None
        self._newest[tenant] = position
        self.stats.written += 1
        self.stats.size, self.stats.took_ms = mark.size, self._clock.steady_ms() - began
        logger.info(
            "snapshot of %s at %s: %d bytes in %d chunks, %d ms",
            tenant,
            position.text(),
            mark.size,
            mark.chunks,
            self.stats.took_ms,
            extra={"action": "snapshot_written", "tenant": str(tenant)},
        )
        await self._drop_old(tenant, [mark, *marks])
        return mark

    async def _drop_old(self, tenant: Tenant, marks: Sequence[Mark]) -> None:
        """Keep what retention asks for, and the log from the eldest of it on, or from where a reader still is."""
        kept = self._retention.keep(marks, self._clock.wall_ms())
        for mark in marks:
            if mark not in kept:
                await self._store.snapshots.drop(tenant, mark)
        if len(kept) >= self._retention.snapshots:
            before = min([kept[-1].position, *self.readers.get(tenant, {}).values()])
            self.stats.trimmed += await self._store.snapshots.trim(tenant, before)
