"""DeepLog: a tenant's log and its snapshots as far back as they are kept, in the store or in the archive.

It reads as the store does. The archive counts as long as it tells the history that the store goes on with.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from registry.archive.contents import Contents, File
from registry.archive.folder import Folder
from registry.archive.segment import Unreadable
from registry.domain.errors import StoreUnavailable
from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.store.damage import KeyName
from registry.store.port import HistoryChanged, PastLog, Tail

T = TypeVar("T")

#: Tenants of whose archives the heads are kept.
FOLDERS_MAX: Final = 64
#: Parts of an archive before its newest one that are asked about what was then.
EARLIER_MAX: Final = 16


class _Depth:
    """What is known of one tenant's archive."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.contents = Contents([])
        #: The eldest event that the store held when it was last asked.
        self.eldest: Position | None = None

    def goes_before(self, position: Position) -> bool:
        """Whether the archive tells what was here: before what the store holds, which may have lost what came then."""
        return self.eldest is not None and position < self.eldest


class DeepLog:
    """
    Args:
        root: the archive, which every replica sees.
        prefix: that of the keys in Redis.
    """

    def __init__(self, store: PastLog, root: Path, prefix: str) -> None:
        self._store = store
        self._root = root
        self._prefix = prefix
        self._depths: OrderedDict[Tenant, _Depth] = OrderedDict()
        self.snapshots = _DeepSnapshots(store, self)

    def key(self, tenant: Tenant | None, name: KeyName) -> str:
        return self._store.key(tenant, name)

    async def head(self, tenant: Tenant) -> Position:
        return await self._store.head(tenant)

    async def eldest(self, tenant: Tenant) -> tuple[Position, bytes] | None:
        """The first event that the store, or the archive before it, still holds."""
        found = await self._store.eldest(tenant)
        depth = self._depth(tenant)
        contents = await self._before(depth.folder, found) if found is not None else None
        # Both at once: others ask meanwhile.
        depth.eldest = found[0] if found is not None else None
        depth.contents = contents or Contents([])
        begins = depth.contents.begins()
        if begins is None:
            return found
        first = depth.contents.with_next(begins)
        assert first is not None
        return (await run(lambda: depth.folder.events(first, begins)))[0]

    async def _before(self, folder: Folder, eldest: tuple[Position, bytes]) -> Contents | None:
        """The archive, if it tells what came before the eldest event of the store."""
        contents = await run(folder.look)
        begins = contents.begins()
        if begins is None or begins >= eldest[0] or await archived(folder, contents, eldest[0]) != eldest[1]:
            return None
        return contents

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None:
        depth = await self._known(tenant)
        if depth.goes_before(position) and (found := await archived(depth.folder, depth.contents, position)):
            return found
        found = await self._store.entry(tenant, position)
        if found is not None:
            return found
        if not depth.goes_before(position):
            await self.eldest(tenant)  # it may have been trimmed a moment ago
        if not depth.goes_before(position):
            return None
        return await archived(depth.folder, depth.contents, position)

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        """The next events of the one tenant that is named, from where they are."""
        ((tenant, position),) = after.items()
        depth = await self._known(tenant)
        file = depth.contents.with_next(position)
        if file is not None and depth.goes_before(position.next()):
            found = await run(lambda: depth.folder.events(file, position))
            if found and depth.goes_before(found[-1][0]):
                return Tail({tenant: found}, (), "")
            if events := [event for event in found if depth.goes_before(event[0])]:
                return Tail({tenant: events}, (), "")
        return await self._store.read(after, tenants_after, block_ms, follow)

    async def earlier(self, tenant: Tenant) -> list[PastLog]:
        """What the archive holds of the time before a gap, newest first: nothing leads from there to the present."""
        first = await self.eldest(tenant)
        depth = self._depth(tenant)
        parts = (await run(depth.folder.look)).parts()
        older = [part for part in parts if first is None or (end := part.end()) is None or end < first[0]]
        return [EarlierLog(self, depth.folder, part) for part in older[:EARLIER_MAX]]

    async def is_silent(
        self, tenant: Tenant, after: Position, until: Position, service_id: str, instance_id: str
    ) -> bool:
        """Whether nothing behind a place and up to another one can be about the instance.

        False where that is not known: the archive does not tell all that was between them, or an earlier version wrote
        it.
        """
        depth = await self._known(tenant)
        if depth.eldest is None or until > depth.eldest:
            return False
        files = depth.contents.between(after, until)
        return bool(files) and await run(lambda: _are_silent(depth.folder, files, service_id, instance_id))

    def damaged(self, tenant: Tenant) -> list[str]:
        """The files of its archive that were found unreadable: what is told lacks what they held."""
        return sorted(self._depth(tenant).folder.damaged)

    async def archived_snapshot(self, tenant: Tenant, position: Position) -> tuple[Folder, File] | None:
        depth = await self._known(tenant)
        file = depth.contents.snapshot(position)
        return (depth.folder, file) if file is not None else None

    async def marks(self, tenant: Tenant) -> Sequence[Mark]:
        depth = await self._known(tenant)
        marks = depth.contents.marks()
        return [mark for mark in marks if mark.position == depth.eldest or depth.goes_before(mark.position)]

    async def _known(self, tenant: Tenant) -> _Depth:
        """What was read of the archive when it was last asked where the log begins."""
        depth = self._depth(tenant)
        if depth.eldest is None:
            await self.eldest(tenant)
        return depth

    def _depth(self, tenant: Tenant) -> _Depth:
        depth = self._depths.get(tenant)
        if depth is None:
            depth = self._depths[tenant] = _Depth(Folder(self._root, self._prefix, tenant))
            while len(self._depths) > FOLDERS_MAX:
                self._depths.popitem(last=False)
        self._depths.move_to_end(tenant)
        return depth


class _DeepSnapshots:
    """Those in the store, and those in the archive."""

    def __init__(self, store: PastLog, log: DeepLog) -> None:
        self._store = store
        self._log = log

    async def marks(self, tenant: Tenant) -> list[Mark]:
        marks = list(await self._store.snapshots.marks(tenant))
        places = {mark.position for mark in marks}
        marks += [mark for mark in await self._log.marks(tenant) if mark.position not in places]
        return sorted(marks, key=lambda mark: mark.position, reverse=True)

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None:
        found = await self._store.snapshots.chunk(tenant, position, index)
        if found is not None:
            return found
        archived = await self._log.archived_snapshot(tenant, position)
        if archived is None:
            await self._log.eldest(tenant)  # it may have gone there since the archive was looked at
            archived = await self._log.archived_snapshot(tenant, position)
        if archived is None:
            return None
        folder, file = archived
        return await run(lambda: folder.chunk(file, index))


class EarlierLog:
    """One part of an archive that ends before a gap, read as a log that ends there."""

    def __init__(self, log: DeepLog, folder: Folder, contents: Contents) -> None:
        self._log = log
        self._folder = folder
        self._contents = contents

    @property
    def snapshots(self) -> EarlierLog:
        return self

    def key(self, tenant: Tenant | None, name: KeyName) -> str:
        return self._log.key(tenant, name)

    async def head(self, tenant: Tenant) -> Position:
        return self._contents.end() or ORIGIN

    async def eldest(self, tenant: Tenant) -> tuple[Position, bytes] | None:
        return next(iter(await self._behind(ORIGIN)), None)

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None:
        return await archived(self._folder, self._contents, position)

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        events = {tenant: await self._behind(position) for tenant, position in after.items()}
        return Tail({tenant: found for tenant, found in events.items() if found}, (), "")

    async def marks(self, tenant: Tenant) -> list[Mark]:
        return self._contents.marks()

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None:
        file = self._contents.snapshot(position)
        return await run(lambda: self._folder.chunk(file, index)) if file is not None else None

    async def _behind(self, position: Position) -> Sequence[tuple[Position, bytes]]:
        file = self._contents.with_next(position)
        return await run(lambda: self._folder.events(file, position)) if file is not None else ()


def _are_silent(folder: Folder, files: Sequence[File], service_id: str, instance_id: str) -> bool:
    for file in files:
        names = folder.names(file)
        if names is None or names.tell_of(service_id, instance_id):
            return False
    return True


async def archived(folder: Folder, contents: Contents, position: Position) -> bytes | None:
    """The event at a position as the archive has it."""
    file = contents.with_next(position.before())
    if file is None:
        return None
    return await run(lambda: folder.event(file, position))


async def run(work: Callable[[], T]) -> T:
    """Read files beside the event loop. Raises HistoryChanged where one cannot be read: it is passed over next time."""
    try:
        return await asyncio.to_thread(work)
    except Unreadable as why:
        raise HistoryChanged(f"a file of the archive cannot be read: {why}") from why
    except OSError as error:
        raise StoreUnavailable(f"the archive cannot be read: {error}") from error
