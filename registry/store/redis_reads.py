"""RedisReads: streams read together, at most as many events at once as their size allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from redis.exceptions import RedisError

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position, parse_position
from registry.domain.tenant import Tenant
from registry.store.connections import Connections
from registry.store.keys import Keys, decode_name
from registry.store.port import Tail
from registry.store.redis_diagnosis import Diagnosis
from registry.store.redis_limits import RedisLimits

#: Events per tenant asked for by the first read; later ones adapt to their size, but never below the least.
READ_FIRST: Final = 64
READ_LEAST: Final = 4


class RedisReads:
    def __init__(self, connections: Connections, keys: Keys, diagnosis: Diagnosis, limits: RedisLimits) -> None:
        self._connections = connections
        self._keys = keys
        self._diagnosis = diagnosis
        self._limits = limits
        self._count = min(READ_FIRST, limits.read_max)

    async def read(
        self, after: Mapping[str, tuple[Tenant, Position]], tenants_after: str | None, block_ms: int, follow: bool
    ) -> Tail:
        """See `Store.read`. `after`: by the key of each stream, whose it is and where to go on."""
        streams = {} if tenants_after is None else {self._keys.tenants_stream: tenants_after or "0-0"}
        streams |= {key: position.text() for key, (_, position) in after.items()}
        by_key = {key.encode(): tenant for key, (tenant, _) in after.items()}
        try:
            async with asyncio.timeout(block_ms / 1000 + self._limits.timeout_s):
                found = await self._connections.read(streams, self._count, block_ms, follow)
        except (RedisError, OSError, TimeoutError) as exc:
            await self._diagnosis.blame(exc, list(by_key.values()))
            # Perhaps it was too much to send in the time.
            self._count = max(self._count // 2, READ_LEAST)
            raise StoreUnavailable(f"Redis did not answer: {exc}") from exc
        events: dict[Tenant, Sequence[tuple[Position, bytes]]] = {}
        #: The last word on each tenant: None that it is there, else where its log ended when it was forgotten.
        listed: dict[Tenant, Position | None] = {}
        for key, entries in found:
            if key in by_key:
                events[by_key[key]] = [(parse_position(id), fields.get(b"e", b"")) for id, fields in entries]
                continue
            for entry_id, fields in entries:
                tenant, gone_at = self.announced(entry_id.decode(), fields)
                listed.pop(tenant, None)
                listed[tenant] = gone_at
                tenants_after = entry_id.decode()
        self._adapt(sum(len(payload) for entries in events.values() for _, payload in entries))
        tenants = [tenant for tenant, gone_at in listed.items() if gone_at is None]
        gone = tuple((tenant, gone_at) for tenant, gone_at in listed.items() if gone_at is not None)
        return Tail(events, tenants, tenants_after or "", gone)

    def announced(self, entry_id: str, fields: Mapping[bytes, bytes]) -> tuple[Tenant, Position | None]:
        """The tenant of an entry of the list of tenants' log; and where its log ended if it was taken off then.

        Raises:
            Damaged: it names none.
        """
        try:
            tenant = Tenant(decode_name(fields[b"d"].decode()), decode_name(fields[b"p"].decode()))
            return tenant, parse_position(fields[b"g"]) if b"g" in fields else None
        except (KeyError, ValueError):
            raise self._diagnosis.damaged(None, "tenants_log", "it announces no tenant", entry_id) from None

    def _adapt(self, read_bytes: int) -> None:
        """Ask for fewer events when they are large, for more when they are small."""
        if read_bytes > self._limits.read_bytes_max:
            self._count = max(self._count // 2, READ_LEAST)
        elif read_bytes:
            self._count = min(self._count * 2, self._limits.read_max)
