"""What a Redis is, for people: its program, memory and persistence, from what its servers say of themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from registry.store.port import About


async def about(servers: Sequence[Redis], ask: Callable[[Awaitable[Any]], Awaitable[Any]], mode: str) -> About:
    """Ask each of the servers. What `ask` raises goes through."""
    found: list[Mapping[str, Any]] = [await ask(server.info()) for server in servers]
    first = found[0]
    is_valkey = "valkey_version" in first
    return About(
        "Valkey" if is_valkey else "Redis",
        str(first["valkey_version" if is_valkey else "redis_version"]),
        mode,
        len(found),
        sum(int(one.get("used_memory", 0)) for one in found),
        sum(int(one.get("maxmemory", 0)) for one in found),
        sum(int(one.get("connected_slaves", 0)) for one in found),
        _persistence(first),
    )


def _persistence(info: Mapping[str, Any]) -> str:
    """How the server keeps its data, and whether it could lately."""
    if int(info.get("aof_enabled", 0)):
        failed = info.get("aof_last_write_status", "ok") != "ok"
        return "append-only file" + (", the last write of it failed" if failed else "")
    failed = info.get("rdb_last_bgsave_status", "ok") != "ok"
    return "no append-only file" + (", the last snapshot failed" if failed else "")
