"""Sentinel: the master dies under load, another takes over, and no operator is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.lease import Lease, Write
from registry.store.redis_check import StoreRefused
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from tests.modes.load import RECOVERY_LIMIT_S, Load
from tests.modes.serving import LIMIT_S, assert_serves, two_replicas
from tests.support.pages import acl_further_rights
from tests.support.redis_modes import SentinelTrio, paste, sentinel_trio
from tests.support.waiting import until

TENANT = Tenant("stores", "default")
LEASE = Lease("s", "i", 600_000)


@pytest.fixture(scope="module")
def trio() -> Iterator[SentinelTrio]:
    """The sentinels wait long enough for readiness to turn."""
    with sentinel_trio(down_after_ms=5000) as trio:
        yield trio


@pytest.fixture
def limits(key_prefix: str) -> RedisLimits:
    return RedisLimits(prefix=key_prefix, timeout_s=2)


async def commits(store: RedisStore, epoch: int) -> bool:
    try:
        await store.commit(TENANT, epoch, [Write(b"again", (LEASE,))])
    except StoreUnavailable:
        return False
    return True


async def follow(store: RedisStore, position: Position) -> None:
    """Read on and on, as a projector does."""
    while True:
        await store.read({TENANT: position}, "", 1000)


async def begin(store: RedisStore) -> Position:
    await store.open()
    (position,) = await store.commit(TENANT, 0, [Write(b"first", (LEASE,))])
    assert position is not None
    return position


async def test_a_master_that_becomes_a_replica_is_left_for_the_one_that_is_named(
    trio: SentinelTrio, limits: RedisLimits
) -> None:
    """It would go on answering questions with what it was left with, and refuse every write."""
    store = RedisStore(trio.url, limits)
    position = await begin(store)
    with trio.master().client() as master:
        master.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match=r"become a replica|now a slave"):
            await store.commit(TENANT, position.epoch, [Write(b"no", (LEASE,))])
        with pytest.raises(StoreUnavailable, match="not the master"):
            await store.beat(TENANT, [LEASE], "r")
        master.replicaof("NO", "ONE")
    await until(lambda: commits(store, position.epoch), "writes to go on", LIMIT_S)
    await store.close()


async def test_a_new_master_is_found_by_readers_and_writers(trio: SentinelTrio, limits: RedisLimits) -> None:
    """Soon, though the old one goes on answering for up to ten seconds until a sentinel tells it."""
    store = RedisStore(trio.url, limits)
    position = await begin(store)
    await asyncio.to_thread(trio.switch_over)
    reading = asyncio.create_task(follow(store, position))
    async with asyncio.timeout(5):
        await asyncio.wait((reading,))
    assert isinstance(reading.exception(), StoreUnavailable)
    await until(lambda: commits(store, position.epoch), "writes to go on", LIMIT_S)
    with trio.master().client() as master:
        head = master.get(f"{limits.prefix}{{stores/default}}:head")
    assert head == (await store.head(TENANT)).text().encode()
    tail = await store.read({TENANT: position}, "", 1000)
    assert tail.events[TENANT][-1][0] == await store.head(TENANT)
    await store.close()


async def test_nobody_who_knows_the_master_is_told_in_one_sentence(trio: SentinelTrio) -> None:
    """A wrong name, sentinels that are not there, and a sentinel taken for a server."""
    store = RedisStore(trio.url.replace("registry-master", "another"))
    with pytest.raises(StoreUnavailable, match="another"):
        await store.open()
    await store.close()
    store = RedisStore("redis+sentinel://:s3cret@127.0.0.1:1,127.0.0.1:2/registry-master")
    with pytest.raises(StoreUnavailable) as told:
        await store.open()
    assert "s3cret" not in told.value.detail
    await store.close()
    store = RedisStore(f"redis://127.0.0.1:{trio.sentinels[0].port}")
    with pytest.raises(StoreRefused, match=r"redis\+sentinel://"):
        await store.open()
    await store.close()


async def test_the_right_on_the_sentinels_is_enough(trio: SentinelTrio, limits: RedisLimits) -> None:
    """A login of their own, which may do no more than production.md says."""
    *_, right = acl_further_rights()
    for sentinel in trio.sentinels:
        assert paste(sentinel, f"redis-cli ACL SETUSER watcher on '>s3cret' resetchannels '{right}'") == ["OK"]
    store = RedisStore(f"{trio.url}?sentinel_username=watcher&sentinel_password=s3cret", limits)
    await begin(store)
    await store.close()


def test_serves_and_survives_the_death_of_the_master(trio: SentinelTrio) -> None:
    """Writes come back by themselves, readiness tells meanwhile, and nobody who beats is removed."""
    with two_replicas(trio.url, "--redis-timeout-s", "2") as (one, other):
        with Load(one, other, "failover") as load:
            assert_serves(one, other)
            killed = trio.master()
            killed_at = time.monotonic()
            killed.kill()
            print(f"writes came back after {load.recovers(killed_at, RECOVERY_LIMIT_S):.1f} s")
            load.assert_readiness_turned_and_came_back(killed_at)
        master = trio.master()
        assert master is not killed
        load.assert_nothing_alive_is_gone(master.log_of("failover"))
        assert one.api("afterwards").service("cart")
