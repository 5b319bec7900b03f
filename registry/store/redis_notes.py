"""Notes on Redis: small texts that expire, each a string, and a set of their names."""

from __future__ import annotations

from registry.domain.tenant import Tenant
from registry.store.keys import Keys, decode_name, encode_name
from registry.store.redis_snapshots import RunScript


class RedisNotes:
    """Keeps the promises of `store.port.Notes`.

    Args:
        run: runs one of the scripts by its name.
    """

    def __init__(self, run: RunScript, keys: Keys) -> None:
        self._run = run
        self._keys = keys

    async def read(self, tenant: Tenant, name: str) -> bytes:
        stored: bytes | None = await self._run("fetch", (self._keys.note(tenant, name),), ())
        return stored or b""

    async def write(self, tenant: Tenant, name: str, seen: bytes, note: bytes, lasts_ms: int, most: int) -> bool:
        keys = (self._keys.note(tenant, name), self._keys.notes(tenant))
        return bool(await self._run("note", keys, (encode_name(name), seen, note, lasts_ms, most)))

    async def all(self, tenant: Tenant) -> dict[str, bytes]:
        found = await self._run("notes", (self._keys.notes(tenant),), (self._keys.note(tenant, ""),))
        return {decode_name(found[i].decode("utf-8", "replace")): found[i + 1] for i in range(0, len(found), 2)}
