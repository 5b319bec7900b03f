"""Outlines: of the snapshots that were read lately, so that one microservice is read without all the others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, NamedTuple

from registry.domain.clone import clone
from registry.domain.marks import Mark
from registry.domain.outline import Outliner, add_some, chunk_digest, frame, unpack_outline
from registry.domain.snapshot import FORMAT, SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.domain.unread import Part, leave_out
from registry.domain.view import RegistryView
from registry.history.cache import SERVICE_BYTES, Kept
from registry.projection.restoring import prove, unpack
from registry.store.port import PastLog

#: Bytes of all outlines that are kept, as they are counted here, and what one takes for a chunk.
OUTLINES_MAX_BYTES: Final = 64 * 1024 * 1024
CHUNK_BYTES: Final = 60


class _Known(NamedTuple):
    """`view`: without any instances, to be cloned. The others: as `domain.outline.Outline` has them."""

    view: RegistryView
    last: bytes
    chunks: list[bytes]
    instances: dict[str, tuple[int, int]]

    @property
    def size(self) -> int:
        return self.view.held_bytes + SERVICE_BYTES * len(self.view.services) + CHUNK_BYTES * len(self.chunks)


class Outlines:
    """What was used least lately goes first."""

    def __init__(self, store: PastLog, most_bytes: int = OUTLINES_MAX_BYTES) -> None:
        self._store = store
        self.most_bytes = most_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[Tenant, bytes], _Known] = OrderedDict()

    async def load(self, tenant: Tenant, mark: Mark, part: Part) -> Kept:
        """A part of the snapshot of that mark.

        Raises:
            SnapshotUnreadable: also where it belongs to another log.
            StoreUnavailable
        """
        known = await self._known(tenant, mark)
        await prove(self._store, mark, tenant, known.last)
        view = clone(known.view)
        wanted = {id: known.instances[id] for id in part.read if id in known.instances}
        for index in sorted({index for first, last in wanted.values() for index in range(first, last + 1)}):
            stored = await self._chunk(tenant, mark, index)
            if chunk_digest(stored) != known.chunks[index]:
                raise SnapshotUnreadable(f"chunk {index} is not what it was")
            add_some(view, unpack(stored), part.read)
        for row in view.services.values():
            leave_out(row, part)
        return Kept(view, known.last, part)

    async def _known(self, tenant: Tenant, mark: Mark) -> _Known:
        key = tenant, mark.digest
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = await self._read(tenant, mark)
            self._size += known.size
            while self._size > self.most_bytes and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1].size
        self._kept.move_to_end(key)
        return known

    async def _read(self, tenant: Tenant, mark: Mark) -> _Known:
        """By the outline that the archive has behind the snapshot's chunks, or else by all of these."""
        if mark.format != FORMAT:
            raise SnapshotUnreadable(f"it has format {mark.format}, this version reads format {FORMAT}")
        packed = await self._store.snapshots.chunk(tenant, mark.position, mark.chunks)
        outline = unpack_outline(packed) if packed is not None else None
        if outline is None or outline.digest != mark.digest:
            outliner = Outliner()
            for index in range(mark.chunks):
                stored = await self._chunk(tenant, mark, index)
                outliner.add(stored, unpack(stored))
                await asyncio.sleep(0)
            outline = outliner.outline()
        loader = frame(outline)
        view = loader.view()
        if outline.digest != mark.digest or (view.tenant, view.position) != (tenant, mark.position):
            raise SnapshotUnreadable("it is not what its mark says")
        return _Known(view, loader.last, outline.chunks, outline.instances)

    async def _chunk(self, tenant: Tenant, mark: Mark, index: int) -> bytes:
        stored = await self._store.snapshots.chunk(tenant, mark.position, index)
        if stored is None:
            raise SnapshotUnreadable(f"chunk {index} of {mark.chunks} is gone")
        return stored

    def clear(self) -> None:
        self._kept.clear()
        self._size = 0
