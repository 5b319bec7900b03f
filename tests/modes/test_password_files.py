"""Passwords from files where Redis is deployed with Sentinel, or as a Cluster; also new ones, without a restart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN
from registry.domain.tenant import Tenant
from registry.store.address import with_password_files
from registry.store.lease import Write
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from tests.modes.load import RECOVERY_LIMIT_S
from tests.support.redis_modes import Member, redis_cluster, sentinel_trio
from tests.support.waiting import until

TENANTS = [Tenant(f"t{number}", "default") for number in range(8)]


def change(servers: Sequence[Member], user: str, *rules: str) -> None:
    """A user on each of them; where others replicate, they are another user."""
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", user, "on", "~*", "&*", "+@all", *rules)


def cut(servers: Sequence[Member], user: str) -> None:
    """End the user's connections, as a failover or a restart does."""
    for server in servers:
        with server.client() as client:
            client.execute_command("CLIENT", "KILL", "USER", user)


async def writes(url: str, *, refused: bool = False) -> None:
    """A replica that starts now writes to every part of the store; or it cannot even start."""
    store = RedisStore(url, RedisLimits(prefix="files:", timeout_s=2))
    try:
        if refused:
            with pytest.raises(StoreUnavailable):
                await store.open()
            return
        await store.open()
        assert await write(store)
    finally:
        await store.close()


async def write(store: RedisStore) -> bool:
    """Whether every tenant takes an event."""
    try:
        for tenant in TENANTS:
            head = await store.head(tenant)
            await store.commit(tenant, head.epoch if head != ORIGIN else 0, [Write(b"event")])
    except StoreUnavailable:
        return False
    return True


async def goes_on(store: RedisStore) -> None:
    async def written() -> bool:
        return await write(store)

    await until(written, "writes to go on", RECOVERY_LIMIT_S)


async def test_cluster(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with redis_cluster(replicas=False) as cluster:
        change(cluster.servers, "registry", ">first")
        url = with_password_files(cluster.url.replace("://", "://registry@"), str(secret), "")
        secret.write_text("wrong\n")
        await writes(url, refused=True)
        secret.write_text("first\n")
        await writes(url)
        store = RedisStore(url, RedisLimits(prefix="files:", timeout_s=2))
        await store.open()
        assert await write(store)
        change(cluster.servers, "registry", ">second", "<first")
        secret.write_text("second\n")
        cut(cluster.servers, "registry")
        await goes_on(store)
        await store.close()


async def test_sentinel(tmp_path: Path) -> None:
    """The servers and the sentinels have each their own; the new ones count also for a master that is new."""
    secret, watching = tmp_path / "secret", tmp_path / "watching"
    with sentinel_trio() as trio:
        change(trio.servers, "registry", ">first")
        change(trio.sentinels, "watcher", ">seen")
        url = trio.url.replace("://", "://registry@") + "?sentinel_username=watcher"
        url = with_password_files(url, str(secret), str(watching))
        for first, seen in (("wrong", "seen"), ("first", "wrong")):
            secret.write_text(first)
            watching.write_text(seen)
            await writes(url, refused=True)
        watching.write_text("seen")
        await writes(url)
        store = RedisStore(url, RedisLimits(prefix="files:", timeout_s=2))
        await store.open()
        assert await write(store)
        change(trio.servers, "registry", ">second", "<first")
        change(trio.sentinels, "watcher", ">looked", "<seen")
        secret.write_text("second")
        watching.write_text("looked")
        cut(trio.servers, "registry")
        cut(trio.sentinels, "watcher")
        await goes_on(store)
        trio.switch_over()
        await goes_on(store)
        await store.close()
