"""Leftovers of tenants on Redis: what stands under their keys, and in the log of the list of tenants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.keys import Keys, encode_name
from registry.store.port import Notice
from registry.store.redis_snapshots import RedisSnapshots, RunScript

#: Entries deleted in one step: as many as a script may unpack.
STRIKE_STEP: Final = 1000


class RedisLeftovers:
    """Keeps the promises of `store.port.Leftovers`.

    Args:
        run: runs one of the scripts by its name.
        announced: reads an entry of the list of tenants' log. Raises Damaged.
    """

    def __init__(
        self,
        run: RunScript,
        keys: Keys,
        announced: Callable[[str, Mapping[bytes, bytes]], tuple[Tenant, Position | None]],
    ) -> None:
        self._run = run
        self._keys = keys
        self._announced = announced

    async def notices(self, after: str, most: int) -> list[Notice]:
        now_ms, entries = await self._run("notices", (self._keys.tenants_stream,), (after, most))
        found = []
        for raw, flat in entries:
            entry, fields = raw.decode(), dict(zip(flat[::2], flat[1::2], strict=True))
            began_ms = int(entry.partition("-")[0])
            found.append(Notice(entry, *self._announced(entry, fields), now_ms - began_ms))
        return found

    async def strike(self, entries: Sequence[str]) -> None:
        for start in range(0, len(entries), STRIKE_STEP):
            await self._run("strike", (self._keys.tenants_stream,), entries[start : start + STRIKE_STEP])

    async def clear(self, tenant: Tenant, at: Position) -> bool:
        name = f"{encode_name(tenant.domain)}/{encode_name(tenant.project)}"
        if await self._run("listed", (self._keys.tenants,), (name,)):
            return False
        marks = await RedisSnapshots(self._run, self._keys).marks(tenant)
        return bool(await self._run("clear", self._keys.all(tenant, marks), (at.text(),)))
