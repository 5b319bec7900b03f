"""RedisCheck: a server of Redis is waited for while it loads its data, and refused if it would lose data by design."""

from __future__ import annotations

import asyncio
from typing import Final

from redis.asyncio import Redis

from registry.store import redis_durability
from registry.store.loading import ASK_EVERY_S, Loading
from registry.store.port import Durability, NotDurable
from registry.store.redis_durability import Ask

REDIS_OLDEST: Final = (6, 2)
#: The beginning of the URL for servers that run in these modes.
URL_BEGINS: Final = {"cluster": "redis+cluster://", "sentinel": "redis+sentinel://"}


class StoreRefused(Exception):
    """This Redis cannot be relied on; the message says why, in one sentence."""


async def wait_loaded(redis: Redis, ask: Ask) -> None:
    """Wait while the server loads its data, for as long as it says that it does."""
    loading = Loading()
    while True:
        if not loading.goes_on(await ask(redis.info("persistence"))):
            return
        await asyncio.sleep(ASK_EVERY_S)


async def check(redis: Redis, ask: Ask, in_cluster: bool, durability: Durability) -> None:
    """Raise StoreRefused if the server cannot be relied on.

    Args:
        in_cluster: whether it should be a server of a cluster.
        durability: what every write must have.
    """
    server = await ask(redis.info("server"))
    version = tuple(int(part) for part in str(server["redis_version"]).split(".")[:2])
    if version < REDIS_OLDEST:
        raise StoreRefused(f"Redis {server['redis_version']} is too old: the registry needs 6.2 or newer")
    # Valkey calls it otherwise.
    runs_as = str(server.get("redis_mode") or server.get("server_mode", "standalone"))
    if runs_as != ("cluster" if in_cluster else "standalone"):
        raise StoreRefused(f"Redis runs as {runs_as}: its URL must begin with {URL_BEGINS.get(runs_as, 'redis://')}")
    policy = str((await ask(redis.info("memory"))).get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise StoreRefused(
            f"Redis may evict the registry's data: its maxmemory-policy is {policy}, it must be noeviction"
        )
    if durability == "disk":
        try:
            reason = await redis_durability.cannot(redis, ask, "disk")
        except NotDurable as failure:
            reason = failure.detail
        if reason:
            raise StoreRefused(f"REGISTRY_DURABILITY is disk, which cannot be had: {reason}")
