"""Snapshotting: now and then one replica writes each tenant's view to the store and drops the log that it stands for.

So a start costs the newest snapshot and the events after it, however long the log has been. One replica at a time does
it. A tenant is due when reading the events that have come since would cost as much as reading a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import encode_event
from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.retention import Retention
from registry.domain.snapshot import FORMAT, take
from registry.domain.tenant import Tenant
from registry.episode import Actions, Episode
from registry.projection.projector import Projector
from registry.projection.saving import save
from registry.store.port import Store
from registry.upkeep.archiving import ArchiveFailed, Archiving

logger = logging.getLogger(__name__)

#: Seconds between looks whether a snapshot is due, and between two of them when a log grows fast.
LOOK_EVERY_S: Final = 5.0
LOOK_LEAST_S: Final = 0.25
#: The right to write, ms: longer than it takes. A replica that is done gives it back.
HOLD_MS: Final = 120_000
GIVEN_BACK_MS: Final = 1
#: Events that are enough for a last snapshot at a stop.
EVENTS_AT_STOP: Final = 1000
#: A snapshot that is not part of the log may be one with which a log is being seeded; after this time (ms) it is not.
STRAY_KEPT_MS: Final = 3_600_000
#: Snapshots that are written while a log is archived; those that get due then wait, or the archive would fall ever
#: further behind a log that grows faster than both can be written.
MEANWHILE_MAX: Final = 4
#: Seconds that a stop waits for last snapshots.
LEAVE_WITHIN_S: Final = 10.0


@dataclass(slots=True)
class SnapshotStats:
    written: int = 0
    trimmed: int = 0
    #: Of the newest one written here: bytes in the store, and how long it took (ms).
    size: int = 0
    took_ms: int = 0


class _Taken(NamedTuple):
    """A snapshot that was written, and the others: those that are no good, and those that are part of its history."""

    mark: Mark
    going: list[Mark]
    staying: list[Mark]


class Snapshotting:
    """One replica's part in writing snapshots."""

    def __init__(
        self,
        store: Store,
        projector: Projector,
        clock: Clock,
        retention: Retention,
        archiving: Archiving | None = None,
    ) -> None:
        self._store = store
        self._projector = projector
        self._clock = clock
        self._retention = retention
        #: Where what a log loses goes to, if anywhere; and that it fails, since when, and why.
        self.archiving = archiving
        if archiving is not None:
            archiving.meanwhile = self._meanwhile
        self.archive_failing = Episode(
            logger, Actions("archive_failed", "archive_recovered"), level=logging.ERROR, steady_ms=clock.steady_ms
        )
        #: What other replicas were last known to have applied; set by `agreement`.
        self.readers: dict[Tenant, dict[str, Position]] = {}
        #: Tenants of which no snapshot may be taken here, because replicas differ.
        self.distrusted: set[Tenant] = set()
        #: Between which moments (Unix ms) snapshots were taken that may hold what replicas differed in.
        self._suspected: dict[Tenant, tuple[int, int]] = {}
        #: The newest snapshot that this replica knows of.
        self._newest: dict[Tenant, Mark] = {}
        #: Up to where logs would have been trimmed, had a reader not been behind.
        self._untrimmed: dict[Tenant, Position] = {}
        #: Tenants of which a snapshot may be due: those that had news since the last look at them.
        self._moved: dict[Tenant, None] = {}
        self._hurry = asyncio.Event()
        #: Snapshots that may still be written before the log is archived that is being archived.
        self._more_meanwhile = 0
        self.stats = SnapshotStats()
        self._failing = Episode(
            logger, Actions("snapshot_failed", "snapshot_recovered"), projector.refusing, steady_ms=clock.steady_ms
        )
        projector.listen_for_news(self._note)
        projector.listen_for_leaves(self._leave)

    def _note(self, tenant: Tenant) -> None:
        self._moved[tenant] = None
        if not self._hurry.is_set() and self._is_due(tenant, self._retention.every_events):
            self._hurry.set()

    def _leave(self, tenant: Tenant) -> None:
        for held in (self._moved, self._newest, self._untrimmed, self._suspected, self.readers):
            held.pop(tenant, None)

    async def run(self) -> None:
        """Look after every tenant until cancelled."""
        while True:
            await asyncio.sleep(LOOK_LEAST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S - LOOK_LEAST_S):
                    await self._hurry.wait()
            await self.look()

    async def look(self) -> None:
        """Write the snapshots that are due, and trim the logs that could not be trimmed before."""
        done = []
        for tenant in list(self._moved):
            self._moved.pop(tenant, None)
            done.append(await self._look(tenant, self._retention.every_events))
            if tenant in self.distrusted or self._is_due(tenant, self._retention.every_events):
                self._moved[tenant] = None  # it could not be written, or not by this replica, or not yet
        for tenant, before in list(self._untrimmed.items()):
            await self._attempt(tenant, self._trim(tenant, before))
        if done and all(done):
            self._failing.ends("snapshots are written again")
        self._hurry.clear()

    async def leave(self) -> None:
        """The replica stops: write what is due, so that the next start is short, within the time of a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                for tenant in self._projector.tenants:
                    await self._look(tenant, EVENTS_AT_STOP)

    def newest(self, tenant: Tenant) -> Mark | None:
        """The newest snapshot of the tenant that this replica knows of."""
        return self._newest.get(tenant)

    def suspect(self, tenant: Tenant, since_ms: int, until_ms: int) -> None:
        """Replicas have differed between these moments: as soon as they agree, replace the snapshots taken then.

        Else a replica that is started from one of them would bring the difference back, and once it is no longer the
        newest thing there is, all of them would be healed with it.
        """
        self._note(tenant)
        earlier = self._suspected.get(tenant)
        self._suspected[tenant] = (since_ms if earlier is None else min(since_ms, earlier[0]), until_ms)

    async def _look(self, tenant: Tenant, events: int) -> bool:
        """Write what is due; False when that failed."""
        return await self._attempt(tenant, self.write(tenant, events))

    async def _attempt(self, tenant: Tenant, work: Awaitable[object]) -> bool:
        try:
            await work
        except StoreUnavailable as error:
            self._failing.occurs("no snapshot of %s: %s", tenant, error.detail, tenant=str(tenant))
            return False
        return True

    def _is_due(self, tenant: Tenant, events: int) -> bool:
        if tenant in self.distrusted or tenant in self._projector.aside.tenants:
            return False
        if tenant in self._suspected:
            return True
        view, log = self._projector.view(tenant), self._projector.log(tenant)
        return self._retention.is_due(log, self._newest.get(tenant), events, view.instance_count, view.held_bytes)

    async def write(self, tenant: Tenant, events: int) -> Mark | None:
        """Write a snapshot if enough events have come since the newest and this replica is the one to do it.

        Then drop what is not needed any more. Raises StoreUnavailable.
        """
        if not self._is_due(tenant, events):
            return None
        if not await self._store.snapshots.hold(tenant, self._projector.replica, HOLD_MS):
            return None
        try:
            return await self._write(tenant, events)
        finally:
            with contextlib.suppress(StoreUnavailable):
                await self._store.snapshots.hold(tenant, self._projector.replica, GIVEN_BACK_MS)

    async def _write(self, tenant: Tenant, events: int) -> Mark | None:
        taken = await self._take(tenant, events)
        if taken is None:
            return None
        mark, going, staying = taken
        for other in going:
            await self._store.snapshots.drop(tenant, other)
        await self._drop_old(tenant, [mark, *staying])
        return mark

    async def _meanwhile(self, tenant: Tenant) -> None:
        """Write the next snapshot when it is due, though the log is being archived.

        That lasts where events come fast; else the archive's snapshots would lie further apart there.
        """
        if not self._more_meanwhile or tenant in self._suspected:
            return
        if not self._is_due(tenant, self._retention.every_events):
            return
        self._more_meanwhile -= 1
        if await self._store.snapshots.hold(tenant, self._projector.replica, HOLD_MS):
            await self._take(tenant, self._retention.every_events)

    async def _take(self, tenant: Tenant, events: int) -> _Taken | None:
        marks = [mark for mark in await self._store.snapshots.marks(tenant) if mark.format == FORMAT]
        head = await self._store.head(tenant)
        view = self._projector.view(tenant)
        own = [mark for mark in marks if view.includes(mark.position)]
        if own:
            self._newest[tenant] = max(own, key=lambda mark: mark.position)
        else:
            self._newest.pop(tenant, None)
        suspected = self._suspects(tenant, own)
        newest = self._projector.newest_event(tenant)
        if newest is None or not self._is_due(tenant, events):
            return None
        if any(view.position < mark.position <= head for mark in marks):
            # Another replica is further ahead, perhaps in a history that this one has not heard of yet.
            return None
        began, position = self._clock.steady_ms(), view.position
        log_bytes = self._projector.log(tenant).bytes
        last = encode_event(newest)
        mark = await self._save(tenant, position, last, take(view, last), log_bytes)
        if mark is None:
            return None
        self._suspected.pop(tenant, None)
        self._newest[tenant] = mark
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
        older = [other for other in own if other.position != position]
        strays = [other for other in marks if other not in own and mark.at_ms - other.at_ms > STRAY_KEPT_MS]
        going = [*strays, *(other for other in older if other in suspected)]
        return _Taken(mark, going, [other for other in older if other not in suspected])

    def _suspects(self, tenant: Tenant, marks: Sequence[Mark]) -> list[Mark]:
        """The snapshots that are to be replaced. When there are none, none are suspected any more."""
        since_ms, until_ms = self._suspected.get(tenant, (0, -1))
        found = [mark for mark in marks if since_ms <= mark.at_ms <= until_ms]
        if not found:
            self._suspected.pop(tenant, None)
        return found

    async def _save(
        self, tenant: Tenant, position: Position, last: bytes, chunks: Iterable[bytes], log_bytes: int
    ) -> Mark | None:
        """Write it, if its place is part of the log when that begins and still when it is done.

        A log that has lost its tail knows nothing of what this view holds beyond it; and a snapshot of a place that
        is not there leads nowhere. Nor does one whose last event a later version has written with more in it than
        this version knows: by its bytes readers prove that the snapshot belongs to the log.
        """
        if await self._store.entry(tenant, position) != last:
            return None
        at_ms, replica = self._clock.wall_ms(), self._projector.replica
        mark = await save(self._store, tenant, position, chunks, at_ms, replica, log_bytes)
        if mark is None or await self._store.entry(tenant, position) == last:
            return mark
        await self._store.snapshots.drop(tenant, mark)
        return None

    async def _drop_old(self, tenant: Tenant, marks: Sequence[Mark]) -> None:
        """Keep what retention asks for, and the log from the eldest of it on, or from where a reader still is."""
        now_ms, log = self._clock.wall_ms(), self._projector.log(tenant)
        kept = self._retention.keep(marks, now_ms, log)
        trims = self._retention.trims(marks, kept, now_ms, log)
        if trims and not await self._archive(tenant, marks, kept[-1].position):
            # The eldest one stays, so that the archive can begin with it.
            trims, kept = False, [*kept, min(marks, key=lambda mark: mark.position)]
        for mark in marks:
            if mark not in kept:
                await self._store.snapshots.drop(tenant, mark)
        if trims:
            await self._trim(tenant, kept[-1].position)

    async def _archive(self, tenant: Tenant, marks: Sequence[Mark], before: Position) -> bool:
        """Archive what is about to go, up to this place. False: it could not be, and stays.

        Unless the log has more bytes than it may: then what is not archived is lost, for the sake of live service.
        """
        if self.archiving is None:
            return True
        self._more_meanwhile = MEANWHILE_MAX
        try:
            await self.archiving.archive(tenant, marks, before)
        except ArchiveFailed as failure:
            if not self._retention.is_full(self._projector.log(tenant), marks):
                self.archive_failing.occurs("%s; the log keeps what is not archived", failure, tenant=str(tenant))
                return False
            self.archive_failing.occurs(
                "%s; the log of %s has more than REGISTRY_LOG_MAX_BYTES, so its history before %s is lost",
                *(failure, tenant, before.text()),
                tenant=str(tenant),
            )
            return True
        self.archive_failing.ends("the archive is written again")
        return True

    async def _trim(self, tenant: Tenant, before: Position) -> None:
        """Drop the events before a position, or before where a reader still is, and the others when it has come on.

        Nothing goes where the snapshot at that position is not there any more: the log has lost it meanwhile.
        """
        if not any(mark.position == before for mark in await self._store.snapshots.marks(tenant)):
            self._untrimmed.pop(tenant, None)
            return
        self._untrimmed[tenant] = before
        allowed = min([before, *self.readers.get(tenant, {}).values()])
        self.stats.trimmed += await self._store.snapshots.trim(tenant, allowed)
        if allowed == before:
            self._untrimmed.pop(tenant, None)
