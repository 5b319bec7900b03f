"""Upkeep on Redis: what mending a damaged store takes, key by key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import Condition, KeyName
from registry.store.keys import Keys, encode_name
from registry.store.redis_snapshots import RunScript
from registry.store.soundness import TYPES

#: Keys looked at in one step of a search through all of them.
SCAN_STEP: Final = 1000


class RedisUpkeep:
    """Keeps the promises of `store.port.Upkeep`.

    Args:
        run: runs one of the scripts by its name.
        servers: every server that holds data of its own.
    """

    def __init__(self, run: RunScript, servers: Callable[[], Awaitable[Sequence[Redis]]], keys: Keys) -> None:
        self._run = run
        self._servers = servers
        self._keys = keys

    async def condition(self, tenant: Tenant) -> Condition:
        keys = [self._keys.key(tenant, name) for name in TYPES]
        *held, head, newest, last = [text.decode("utf-8", "replace") for text in await self._run("condition", keys, ())]
        wrong = {name: is_ for (name, must), is_ in zip(TYPES.items(), held, strict=True) if is_ not in (must, "none")}
        return Condition(wrong, head, newest, last)

    async def found(self) -> list[Tenant]:
        found: dict[Tenant, None] = {}
        pattern = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in self._keys.prefix)
        try:
            for server in await self._servers():
                async for key in server.scan_iter(match=f"{pattern}{{*}}:*", count=SCAN_STEP):
                    name = bytes(key).decode("utf-8", "replace")
                    tenant = self._keys.parse_tag(name)
                    if tenant and name in (self._keys.events(tenant), self._keys.head(tenant)):
                        found[tenant] = None
        except (RedisError, OSError) as exc:
            raise StoreUnavailable(f"the keys cannot be looked through: {exc}") from exc
        return list(found)

    async def forget(self, tenant: Tenant, name: KeyName) -> None:
        await self._run("forget", (self._keys.key(tenant, name),), ())

    async def cut(
        self, tenant: Tenant, seen: Condition, keep_to: Position, epoch: int, payloads: Sequence[bytes]
    ) -> None:
        arguments = (seen.head, seen.newest, keep_to.text(), epoch, int(_is_spent(seen.last, epoch)), *payloads)
        await self._run("cut", (self._keys.events(tenant), self._keys.head(tenant)), arguments)

    async def rewrite_tenants(self, tenants: Sequence[Tenant]) -> None:
        names = [name for tenant in tenants for name in map(encode_name, tenant)]
        await self._run("list", (self._keys.tenants, self._keys.tenants_stream), names)


def _is_spent(last: str, epoch: int) -> bool:
    """Whether the log has given an id already beyond which the epoch cannot begin."""
    return bool(last) and int(last.partition("-")[0]) >= epoch
