"""Snapshots on Redis: their chunks as strings, their marks in a hash, beside the log that they stand in for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from registry.domain.marks import Mark, decode_mark, encode_mark
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.keys import Keys

#: How long (ms) a chunk is kept whose snapshot is not marked as complete.
UNMARKED_KEPT_MS: Final = 3_600_000
#: Events dropped in one step, and steps of one trim: dropping many at once would hold up everybody else.
TRIM_STEP_MAX: Final = 50_000
TRIM_STEPS_MAX: Final = 200

RunScript = Callable[[str, Sequence[str], Sequence[Any]], Awaitable[Any]]


class RedisSnapshots:
    """Keeps the promises of `store.port.Snapshots`.

    Args:
        run: runs one of the scripts by its name.
    """

    def __init__(self, run: RunScript, keys: Keys) -> None:
        self._run = run
        self._keys = keys

    async def marks(self, tenant: Tenant) -> list[Mark]:
        found = await self._run("marks", (self._keys.snapshots(tenant),), ())
        marks = [mark for data in found if (mark := decode_mark(data)) is not None]
        return sorted(marks, key=lambda mark: mark.position, reverse=True)

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None:
        stored: bytes | None = await self._run("fetch", (self._keys.chunk(tenant, position, index),), ())
        return stored

    async def put_chunk(self, tenant: Tenant, position: Position, index: int, stored: bytes) -> None:
        await self._run("stow", (self._keys.chunk(tenant, position, index),), (stored, UNMARKED_KEPT_MS))

    async def put_mark(self, tenant: Tenant, mark: Mark) -> bool:
        return bool(await self._run("mark", self._all_keys(tenant, mark), (mark.position.text(), encode_mark(mark))))

    async def drop(self, tenant: Tenant, mark: Mark) -> None:
        await self._run("drop", self._all_keys(tenant, mark), (mark.position.text(),))

    def _all_keys(self, tenant: Tenant, mark: Mark) -> list[str]:
        chunks = [self._keys.chunk(tenant, mark.position, index) for index in range(mark.chunks)]
        return [self._keys.snapshots(tenant), *chunks]

    async def trim(self, tenant: Tenant, before: Position) -> int:
        trimmed = 0
        for _ in range(TRIM_STEPS_MAX):
            step = await self._run("trim", (self._keys.events(tenant),), (before.text(), TRIM_STEP_MAX))
            trimmed += step
            if not step:
                break
        return trimmed

    async def hold(self, tenant: Tenant, replica: str, ttl_ms: int) -> bool:
        return bool(await self._run("hold", (self._keys.holder(tenant),), (replica, ttl_ms)))

    async def exchange(self, tenant: Tenant, replica: str, state: bytes, keep_ms: int) -> dict[str, bytes]:
        found = await self._run("exchange", (self._keys.states(tenant),), (replica, state, keep_ms))
        return {found[i].decode("utf-8", "replace"): found[i + 1] for i in range(0, len(found), 2)}
