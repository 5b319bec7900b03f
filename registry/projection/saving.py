"""Saving: a view written to the store as a snapshot, without holding up those who read the view meanwhile."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from typing import Final

from registry.domain.marks import ChunksDigest, Mark
from registry.domain.position import Position
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import Tenant
from registry.store.port import Store

#: Chunks of at least this many bytes are packed beside the event loop.
PACK_BESIDE_BYTES: Final = 64 * 1024


async def save(
    store: Store,
    tenant: Tenant,
    position: Position,
    chunks: Iterable[bytes],
    at_ms: int,
    replica: str,
    log_bytes: int = 0,
) -> Mark | None:
    """Write the chunks of `snapshot.take` and mark them as complete. None when one of them went away meanwhile."""
    digest = ChunksDigest()
    for chunk in chunks:
        stored = await _pack(chunk)
        await store.snapshots.put_chunk(tenant, position, digest.chunks, stored)
        digest.add(stored)
    place = (position.epoch, position.sequence)
    mark = Mark(FORMAT, *place, digest.chunks, digest.size, digest.digest(), at_ms, replica, log_bytes)
    return mark if await store.snapshots.put_mark(tenant, mark) else None


async def _pack(chunk: bytes) -> bytes:
    if len(chunk) < PACK_BESIDE_BYTES:
        return zlib.compress(chunk, 1)
    return await asyncio.to_thread(zlib.compress, chunk, 1)
