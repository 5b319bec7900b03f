"""Archiving: what a log is about to lose goes to the archive first, written by the one replica that trims the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from registry.archive.contents import Contents, outlived, snapshots_wanted
from registry.archive.folder import Folder
from registry.archive.segment import Unreadable, encode_events, encode_snapshot
from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import HistoryResumed
from registry.domain.marks import Mark
from registry.domain.outline import Outliner, pack_outline
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.projection.restoring import begins_anew, follows, read_event, unpack
from registry.store.damage import Damaged
from registry.store.port import Store

logger = logging.getLogger(__name__)

#: What one segment has at most: events, and their bytes before they are compressed.
SEGMENT_EVENTS_MAX: Final = 50_000
SEGMENT_BYTES_MAX: Final = 16 * 1024 * 1024
#: Seconds after which an unfinished file is one that a replica has left when it died.
UNFINISHED_KEPT_S: Final = 3600.0


async def nothing(tenant: Tenant) -> None:
    """Where nothing is to be done meanwhile."""


class ArchiveFailed(Exception):
    """Nothing was lost: the log has still what is not in the archive."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one tenant's archive. `kept_ms`: 0: for ever."""

    kept_ms: int
    max_bytes: int


@dataclass(slots=True)
class ArchiveStats:
    segments: int = 0
    events: int = 0
    bytes: int = 0
    #: Files that could not be read when it last looked, by tenant.
    damaged: dict[Tenant, int] = field(default_factory=dict)


class Archiving:
    """
    Args:
        root: the archive, which every replica sees.
        prefix: that of the keys in Redis.
        hold_ms: for how long the right to write is taken anew before each file.
    """

    def __init__(
        self, store: Store, clock: Clock, replica: str, root: Path, prefix: str, limits: Limits, hold_ms: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._replica = replica
        self._root = root
        self._prefix = prefix
        self._limits = limits
        self._hold_ms = hold_ms
        #: Done again and again, for to read a log and to write files may last. What it raises ends that.
        self.meanwhile: Callable[[Tenant], Awaitable[None]] = nothing
        self.stats = ArchiveStats()

    async def archive(self, tenant: Tenant, marks: Sequence[Mark], before: Position) -> None:
        """Bring the log up to and with this place to the archive, with snapshots of the store from time to time.

        The caller holds the right to write snapshots.

        Raises:
            ArchiveFailed: it could not be written.
            StoreUnavailable
        """
        folder = Folder(self._root, self._prefix, tenant)
        try:
            await self._archive(folder, tenant, marks, before)
        except (OSError, Unreadable) as error:
            raise ArchiveFailed(f"the archive of {tenant} cannot be written: {error}") from error

    async def _archive(self, folder: Folder, tenant: Tenant, marks: Sequence[Mark], before: Position) -> None:
        contents = await asyncio.to_thread(folder.scan)
        self.stats.damaged[tenant] = len(folder.damaged)
        place = await self._goes_on(folder, tenant, contents)
        if place is None:
            base = await self._base(tenant, marks)
            if base is None:
                return
            for mark in (mark for mark in marks if mark.position == base):
                await self._put_snapshot(folder, tenant, mark)
            place = Position(base.epoch, base.sequence - 1)
        await self._put_events(folder, tenant, marks, place, before)
        contents = await asyncio.to_thread(folder.scan)
        for mark in snapshots_wanted(contents, marks, before):
            await self._put_snapshot(folder, tenant, mark)
        await asyncio.to_thread(self._let_go, folder, tenant)

    async def _goes_on(self, folder: Folder, tenant: Tenant, contents: Contents) -> Position | None:
        """Where the archive ends, if the log goes on from there; None: it begins anew."""
        end = contents.end()
        if end is None:
            return None
        stands = await self._store.entry(tenant, end)
        last = contents.with_next(Position(end.epoch, end.sequence - 1))
        events = await asyncio.to_thread(folder.events, last, Position(end.epoch, end.sequence - 1)) if last else []
        if stands is not None and events and events[0] == (end, stands):
            return end
        eldest = await self._store.eldest(tenant)
        if stands is None and eldest is not None and eldest[0] > end:
            logger.warning(
                "the archive of %s lacks what came between %s and %s: lost or trimmed before it was archived",
                *(tenant, end.text(), eldest[0].text()),
                extra={"action": "archive_gap", "tenant": str(tenant)},
            )
            return None
        since = eldest[0] if eldest is not None else ORIGIN
        lost = [file for file in contents.files if file.head.end >= since]
        logger.error(
            "the log of %s does not hold what the archive has up to %s: it lost that. %d files go: %s",
            *(tenant, end.text(), len(lost), ", ".join(file.name for file in lost)),
            extra={"action": "archive_of_lost_history", "tenant": str(tenant)},
        )
        await asyncio.to_thread(folder.remove, lost)
        return None

    async def _base(self, tenant: Tenant, marks: Sequence[Mark]) -> Position | None:
        """The first event from which on the log can be followed: one behind nothing, or one with a snapshot."""
        eldest = await self._store.eldest(tenant)
        if eldest is None:
            return None
        position, payload = eldest
        if position.sequence == 1 and not isinstance(self._event(tenant, position, payload), HistoryResumed):
            return position
        return min((mark.position for mark in marks if mark.position >= position), default=None)

    def _event(self, tenant: Tenant, position: Position, payload: bytes) -> object:
        try:
            return read_event(self._store, tenant, position, payload)
        except Damaged:
            return None

    # -- files ---------------------------------------------------------------------------------------------------------

    async def _put_events(
        self, folder: Folder, tenant: Tenant, marks: Sequence[Mark], place: Position, before: Position
    ) -> None:
        """The log behind a place, in segments. An epoch begins one of its own, behind the state it was seeded with."""
        some: list[tuple[Position, bytes]] = []
        after, size = place, 0
        async for event in self._log(tenant, place, before):
            reached = some[-1][0] if some else after
            is_new = event[0].epoch != reached.epoch
            if some and (is_new or len(some) == SEGMENT_EVENTS_MAX or size + len(event[1]) > SEGMENT_BYTES_MAX):
                await self._put_segment(folder, tenant, after, some)
                after, some, size = reached, [], 0
            if is_new:
                for mark in (mark for mark in marks if mark.position == event[0]):
                    await self._put_snapshot(folder, tenant, mark)
            some.append(event)
            size += len(event[1])
        if some:
            await self._put_segment(folder, tenant, after, some)

    async def _log(self, tenant: Tenant, place: Position, before: Position) -> AsyncIterator[tuple[Position, bytes]]:
        """What the log has behind a place, up to another one. Raises ArchiveFailed where it has a gap."""
        while place < before:
            await self.meanwhile(tenant)
            entries = (await self._store.read({tenant: place}, None, 0)).events.get(tenant, ())
            if not entries:
                return
            for position, payload in entries:
                if position > before:
                    return
                if position != place.next():
                    event = read_event(self._store, tenant, position, payload)
                    if not follows(place, position, event) and not (
                        begins_anew(position, event) and await self._store.entry(tenant, place) is not None
                    ):
                        raise ArchiveFailed(f"the log of {tenant} goes on from {place.text()} at {position.text()}")
                yield position, payload
                place = position

    async def _put_segment(
        self, folder: Folder, tenant: Tenant, after: Position, events: Sequence[tuple[Position, bytes]]
    ) -> None:
        data = await asyncio.to_thread(encode_events, tenant, after, tuple(events))
        await self._put(folder, tenant, data)
        self.stats.segments += 1
        self.stats.events += len(events)
        logger.info(
            "%d events of %s up to %s are archived: %d bytes",
            *(len(events), tenant, events[-1][0].text(), len(data)),
            extra={"action": "archived", "tenant": str(tenant)},
        )

    async def _put_snapshot(self, folder: Folder, tenant: Tenant, mark: Mark) -> None:
        chunks = []
        for index in range(mark.chunks):
            chunk = await self._store.snapshots.chunk(tenant, mark.position, index)
            if chunk is None:
                return  # it has gone meanwhile
            chunks.append(chunk)
        outline = await self._outline(mark, chunks)
        await self._put(folder, tenant, await asyncio.to_thread(encode_snapshot, tenant, mark, chunks, outline))

    async def _outline(self, mark: Mark, chunks: Sequence[bytes]) -> bytes:
        """By which one microservice is read without all the others; b"" of a snapshot that this version cannot read."""
        outliner = Outliner()
        try:
            for stored in chunks:
                outliner.add(stored, await asyncio.to_thread(unpack, stored))
        except SnapshotUnreadable as why:
            logger.warning("the snapshot at %s is archived as it is: %s", mark.position.text(), why)
            return b""
        return await asyncio.to_thread(pack_outline, outliner.outline())

    async def _put(self, folder: Folder, tenant: Tenant, data: bytes) -> None:
        await self.meanwhile(tenant)
        if not await self._store.snapshots.hold(tenant, self._replica, self._hold_ms):
            raise StoreUnavailable("another replica writes to the archive")
        await asyncio.to_thread(folder.put, data, self._replica)
        self.stats.bytes += len(data)

    def _let_go(self, folder: Folder, tenant: Tenant) -> None:
        now_ms, limits = self._clock.wall_ms(), self._limits
        going = outlived(folder.scan(), now_ms, limits.kept_ms, limits.max_bytes)
        if going:
            folder.remove(going)
            logger.info(
                "%d files of the archive of %s have gone, up to %s",
                *(len(going), tenant, max(file.head.end for file in going).text()),
                extra={"action": "archive_trimmed", "tenant": str(tenant)},
            )
        folder.clean_up(UNFINISHED_KEPT_S, now_ms / 1000)
