"""Snapshots: those of a log from which on its past can be told, and the moment that the log had reached at each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import SnapshotUnreadable, beginning_of
from registry.domain.tenant import Tenant
from registry.history.moments import When
from registry.memo import Memo
from registry.projection.restoring import unpack
from registry.store.port import PastLog

#: Tenants of which it is remembered that their history is broken; of others it is found again.
BROKEN_MAX: Final = 1000
#: Snapshots of which the moment is remembered, the bytes of all, and of one, about.
MOMENTS_MAX: Final = 10_000
MOMENTS_MAX_BYTES: Final = 2 * 1024 * 1024
MOMENT_BYTES: Final = 200


class Snapshots:
    """Of one store."""

    def __init__(self, store: PastLog) -> None:
        self._store = store
        #: Before these positions nothing can be told, though something is kept.
        self._broken: OrderedDict[Tenant, Position] = OrderedDict()
        #: By tenant and digest of a snapshot.
        self._moments: Memo[tuple[Tenant, bytes], int] = Memo(
            MOMENTS_MAX, MOMENTS_MAX_BYTES, lambda key, moment: MOMENT_BYTES
        )

    async def marks(self, tenant: Tenant, head: Position) -> Sequence[Mark]:
        """The snapshots from which on the log is kept, newest first."""
        eldest = await self._store.eldest(tenant)
        broken = await self.broken_at(tenant)
        marks = [mark for mark in await self._store.snapshots.marks(tenant) if broken <= mark.position <= head]
        return [mark for mark in marks if mark is marks[0] or (eldest is not None and mark.position >= eldest[0])]

    async def up_to(self, tenant: Tenant, when: When, head: Position) -> Sequence[Mark]:
        """Those of them that lie at or before a time, newest first; perhaps later ones too, and never fewer."""
        marks = await self.marks(tenant, head)
        first, end = 0, len(marks)
        while first < end:  # places and moments fall from one to the next
            middle = (first + end) // 2
            if await self._reached(tenant, marks[middle], when):
                end = middle
            else:
                first = middle + 1
        return marks[first:]

    async def _reached(self, tenant: Tenant, mark: Mark, when: When) -> bool:
        if when.position is not None and mark.position > when.position:
            return False
        return when.moment_ms is None or await self._moment_ms(tenant, mark) <= when.moment_ms

    async def _moment_ms(self, tenant: Tenant, mark: Mark) -> int:
        """What the log had reached. When the snapshot was taken says little: a log may be a copy of an older one."""
        key = tenant, mark.digest
        moment_ms = self._moments.get(key)
        if moment_ms is None:
            moment_ms = await self._read_moment_ms(tenant, mark)
            self._moments.put(key, moment_ms)
        return moment_ms

    async def _read_moment_ms(self, tenant: Tenant, mark: Mark) -> int:
        stored = await self._store.snapshots.chunk(tenant, mark.position, 0)
        try:
            told = beginning_of(unpack(stored)).moment_ms if stored is not None else 0
        except SnapshotUnreadable:
            told = 0  # who reads all of it says so
        return told or mark.at_ms

    # -- where history is broken ---------------------------------------------------------------------------------------

    def break_at(self, tenant: Tenant, position: Position) -> None:
        """From now on tell nothing of what was before this position."""
        self._broken.pop(tenant, None)
        self._broken[tenant] = position
        while len(self._broken) > BROKEN_MAX:
            self._broken.popitem(last=False)

    def mend(self, tenant: Tenant) -> None:
        """Forget that."""
        self._broken.pop(tenant, None)

    async def broken_at(self, tenant: Tenant) -> Position:
        """Before which position nothing can be told; the origin: all can."""
        broken = self._broken.get(tenant, ORIGIN)
        if broken != ORIGIN and await self._store.entry(tenant, broken) is None:
            # The log has lost that too, or it is trimmed; and others may have found that, or another break, meanwhile.
            if self._broken.get(tenant) == broken:
                del self._broken[tenant]
            return ORIGIN
        return broken
