"""Cluster: a tenant's shard dies under load, its slot moves, its wake-ups get lost, and no client is told wrongly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.lease import Lease, LeaseName, Proposal, Write
from registry.store.port import OutageSuspected
from registry.store.redis_check import StoreRefused
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from tests.modes.load import RECOVERY_LIMIT_S, Load
from tests.modes.serving import two_replicas
from tests.support.redis_modes import Cluster, redis_cluster
from tests.support.waiting import until

TENANT = Tenant("moved", "default")
TAG = "{moved/default}"
LEASE = Lease("s", "i", 600_000)
NAME = LeaseName("s", "i")
PULSE_MS = 60_000


def test_serves_and_survives_the_death_of_a_shard() -> None:
    """Its replica takes over by itself; readiness tells meanwhile; nobody who beats is removed, on no shard."""
    # Long enough for readiness to turn.
    with (
        redis_cluster(node_timeout_ms=4500) as cluster,
        two_replicas(cluster.url, "--redis-timeout-s", "2") as replicas,
    ):
        with Load(*replicas, "failover") as load:
            killed = cluster.holder("{failover/default}")
            killed_at = time.monotonic()
            killed.kill()
            print(f"writes came back after {load.recovers(killed_at, RECOVERY_LIMIT_S):.1f} s")
            load.assert_readiness_turned_and_came_back(killed_at)
        heir = cluster.holder("{failover/default}")
        assert heir is not killed
        load.assert_nothing_alive_is_gone(heir.log_of("failover"))
        assert replicas[0].api("afterwards").service("cart")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with redis_cluster(replicas=False) as cluster:
        yield cluster


@pytest.fixture
async def stores(cluster: Cluster, key_prefix: str) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    """Two replicas' stores."""
    one, other = (RedisStore(cluster.url, RedisLimits(prefix=key_prefix, timeout_s=2)) for _ in range(2))
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


async def begin(store: RedisStore) -> Position:
    await store.add_tenant(TENANT)
    (position,) = await store.commit(TENANT, 0, [Write(b"1", (LEASE,))])
    assert position is not None
    await store.pulse(TENANT, PULSE_MS, False)
    return position


async def test_a_tenant_whose_slot_moves_is_waited_for_and_then_followed(
    cluster: Cluster, stores: tuple[RedisStore, RedisStore]
) -> None:
    """Half of its keys are elsewhere for a while: nothing may be written then, and above all nobody be expired."""
    one, other = stores
    position = await begin(one)
    epoch = position.epoch
    assert await other.head(TENANT) == position
    move = cluster.move(TAG)
    move.begin()
    assert await one.head(TENANT) == position
    # A key that is not where it was is asked for where it goes.
    move.keys(lambda key: key.endswith(":head") or ":lease:" in key)
    assert await one.head(TENANT) == await other.head(TENANT) == position
    gone = Proposal(NAME, "1-1", b"gone")
    for call in (
        lambda: one.commit(TENANT, epoch, [Write(b"no")], 1),
        lambda: one.expire(TENANT, epoch, [gone], PULSE_MS, 1),
        lambda: one.beat(TENANT, [LEASE], "r"),
    ):
        with pytest.raises(StoreUnavailable):
            await call()
    move.keys(lambda key: True)
    move.end()
    # Loaded there now; each store is sent there once.
    assert await one.commit(TENANT, epoch, [Write(b"2")], 1) == [position.next()]
    assert [event for _, event in (await other.read({TENANT: position}, "", 0)).events[TENANT]] == [b"2"]
    # The new shard is another server, as after a failover: nobody is judged before the leases have started anew.
    assert (await other.pulse(TENANT, PULSE_MS, False)).restarted
    with pytest.raises(OutageSuspected):
        await other.expire(TENANT, epoch, [gone], PULSE_MS, 2)
    await other.rearm(TENANT, [LEASE])
    await other.pulse(TENANT, PULSE_MS, True)
    assert await other.expire(TENANT, epoch, [gone], PULSE_MS, 2) == [None]
    assert await other.beat(TENANT, [LEASE], "r") == []
    assert (await other.remaining(TENANT, [NAME]))[0] > 0


async def test_an_event_whose_wake_up_was_lost_is_read_soon(
    cluster: Cluster, stores: tuple[RedisStore, RedisStore], key_prefix: str
) -> None:
    """Messages arrive at most once. The sweep is what a replica relies on."""
    store, _ = stores
    position = await begin(store)
    tail = await store.read({TENANT: position}, "", 100)
    after = tail.tenants_after
    assert not (await store.read({TENANT: position}, after, 50)).events
    stream = f"{key_prefix}{TAG}:events"
    with cluster.holder(stream).client() as silent:
        silent.xadd(stream, {"e": b"2"}, id=position.next().text())
    began = time.monotonic()
    while not (found := (await store.read({TENANT: position}, after, 1000)).events):
        assert time.monotonic() - began < 10
    assert list(found[TENANT]) == [(position.next(), b"2")]


async def test_a_reader_whose_subscription_breaks_reads_on_elsewhere(
    cluster: Cluster, stores: tuple[RedisStore, RedisStore], key_prefix: str
) -> None:
    """What was appended while nobody listened is found, and what comes later wakes again."""
    store, other = stores
    position = await begin(store)
    after = (await store.read({TENANT: position}, "", 100)).tenants_after
    reading = asyncio.create_task(store.read({TENANT: position}, after, 20_000))
    await until(lambda: _breaks_a_subscription(cluster), "the reader to listen")
    async with asyncio.timeout(5):
        await asyncio.wait((reading,))
    assert isinstance(reading.exception(), StoreUnavailable)
    await other.commit(TENANT, position.epoch, [Write(b"2")], 1)
    for sequence in (1, 2):
        at = Position(position.epoch, sequence)
        reading = asyncio.create_task(store.read({TENANT: at}, after, 20_000))
        if sequence == 2:
            await asyncio.sleep(0)
            await other.commit(TENANT, position.epoch, [Write(b"3")], 2)
        async with asyncio.timeout(5):
            assert list((await reading).events[TENANT]) == [(at.next(), b"%d" % (sequence + 1))]


async def test_a_reader_that_does_not_wait_hears_wake_ups_too(stores: tuple[RedisStore, RedisStore]) -> None:
    """Left lying, those of own writes stand before another tenant's, which would be read a second late and more."""
    store, other = stores
    position = await begin(store)
    after = (await store.read({TENANT: position}, "", 100, follow=True)).tenants_after
    for _ in range(50):
        (newest,) = await other.commit(TENANT, position.epoch, [Write(b"2")])
    assert newest is not None
    reader = store._connections._reader  # type: ignore[attr-defined]

    left = 0

    async def nothing_is_left() -> bool:
        nonlocal left
        await store.read({TENANT: newest}, after, 0, follow=True)
        message = await reader._subscription.get_message(timeout=0.0)
        left += message is not None
        return message is None

    await until(nothing_is_left, "every wake-up to be heard")
    assert left < 10, "the reader has left them to us"


async def _breaks_a_subscription(cluster: Cluster) -> bool:
    killed = 0
    for server in cluster.servers:
        with server.client() as client:
            killed += client.client_kill_filter(_type="pubsub")
    return killed > 0


async def test_a_url_of_the_wrong_kind_is_told_in_one_sentence(cluster: Cluster, redis_url: str) -> None:
    """One server of a cluster would refuse most tenants later; better to say it at the start."""
    store = RedisStore(f"redis://127.0.0.1:{cluster.servers[0].port}")
    with pytest.raises(StoreRefused, match=r"redis\+cluster://"):
        await store.open()
    await store.close()
    store = RedisStore("redis+cluster://:s3cret@127.0.0.1:1")
    with pytest.raises(StoreUnavailable) as told:
        await store.open()
    assert "s3cret" not in told.value.detail
    await store.close()
