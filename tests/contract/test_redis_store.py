"""What only the Redis adapter can break: the keys' form, the server's settings, lost scripts, silence and restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from registry.domain.errors import StoreUnavailable
from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import DEFAULT_TENANT as TENANT
from registry.domain.tenant import Tenant
from registry.store.keys import Keys
from registry.store.lease import Lease, LeaseName, Proposal, Write
from registry.store.port import OutageSuspected, Tail
from registry.store.redis_check import StoreRefused
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import until

LONG_MS = 600_000
BEATS_MAX = 20_000
NAME = LeaseName("s", "i")
LEASE = Lease("s", "i", LONG_MS)


@pytest.fixture
def own_database(redis_url: str) -> str:
    """A database that no registry of another test writes to."""
    return f"{redis_url}?db=7"


@pytest.fixture
async def redis(own_database: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_database) as client:
        yield client


@pytest.fixture
async def store(own_database: str, key_prefix: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(own_database, RedisLimits(prefix=key_prefix, beats_max_bytes=BEATS_MAX))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that this test may pause, kill and configure."""
    with TemporaryDirectory(prefix="rr-", dir="/tmp") as directory, redis_server(Path(directory), True) as server:
        yield server


async def use_everything(store: RedisStore, tenant: Tenant) -> Position:
    """One call of each method that writes. Returns the position of the last event."""
    await store.add_tenant(tenant)
    (position,) = await store.commit(tenant, 0, [Write(b"e", (LEASE,))])
    assert position is not None
    await store.pulse(tenant, LONG_MS, False)
    assert await store.beat(tenant, [LEASE], "r") == []
    assert await store.revive(tenant, position, [LEASE])
    await store.rearm(tenant, [LEASE])
    assert await store.remaining(tenant, [NAME]) != [-1]
    gone = Proposal(LeaseName("s", "gone"), "1-1", b"gone")
    assert await store.expire(tenant, position.epoch, [gone], LONG_MS) == [position.next()]
    resumed = Position(position.epoch + 1, 1)
    await store.resume_history(tenant, position.next(), resumed.epoch, [b"resumed"])
    await store.snapshots.put_chunk(tenant, position, 0, b"chunk")
    assert await store.snapshots.put_mark(tenant, mark_of(position, 1))
    assert await store.snapshots.trim(tenant, position) == 0
    assert await store.snapshots.hold(tenant, "r", LONG_MS)
    assert await store.snapshots.exchange(tenant, "r", b"state", LONG_MS) == {}
    return resumed


def mark_of(position: Position, chunks: int) -> Mark:
    return Mark(FORMAT, position.epoch, position.sequence, chunks, 5, b"digest", 1_650_545_035_000, "r1")


@pytest.mark.parametrize("tenant", [TENANT, Tenant("a}{b", "c/{d}"), Tenant("", "ü")])
async def test_all_keys_of_a_tenant_lie_in_one_slot_below_the_prefix(
    store: RedisStore, redis: Redis, key_prefix: str, tenant: Tenant
) -> None:
    """In a Redis Cluster a script may touch one slot only, and the prefix is what separates two registries.

    On one server, as here, the two keys of the part are those of another tenant.
    """
    everything = {key async for key in redis.scan_iter()}
    await use_everything(store, tenant)
    keys = {key async for key in redis.scan_iter()} - everything
    of_part = {f"{Keys(key_prefix).tag(store.part(tenant))}:{name}".encode() for name in ("pulse", "rearming")}
    assert of_part <= keys
    others = () if store.part(tenant) == tenant else of_part
    of_tenant = {key for key in keys - {*others} if not key.startswith(f"{key_prefix}{{tenants}}".encode())}
    assert all(key.startswith(key_prefix.encode()) for key in keys)
    # A cluster hashes what stands between the first `{` and the next `}`.
    assert len({key.partition(b"{")[2].partition(b"}")[0] for key in of_tenant}) == 1
    # Events, head, beats, lease, lapse, snapshots, chunk, holder, states.
    assert len(of_tenant) >= 9


async def test_no_key_is_left_of_a_tenant_that_is_cleared(store: RedisStore, redis: Redis, key_prefix: str) -> None:
    """But its leases and lapses, which go by themselves."""
    tenant = Tenant("was", "there")
    head = await use_everything(store, tenant)
    await redis.set(Keys(key_prefix).marker(tenant), "1")
    await store.snapshots.put_chunk(tenant, head, 0, b"chunk")  # of a snapshot that nobody has finished
    await store.forget_tenant(tenant, head)
    assert await store.leftovers.clear(tenant, head)
    left = [key async for key in redis.scan_iter(match=f"{Keys(key_prefix).tag(tenant)}*")]
    assert {key.decode().rpartition("}:")[2].partition(":")[0] for key in left} == {"lease", "lapse", "snapshot"}
    assert all([await redis.pttl(key) > 0 for key in left])


async def test_two_registries_on_one_redis_do_not_see_each_other(
    store: RedisStore, redis_url: str, key_prefix: str
) -> None:
    """Several registries may share one Redis, each below its prefix."""
    await use_everything(store, TENANT)
    other = RedisStore(redis_url, RedisLimits(prefix=key_prefix + "other:"))
    await other.open()
    assert await other.head(TENANT) == ORIGIN
    assert await other.read({TENANT: ORIGIN}, "", 0) == Tail({}, [], "", ())
    assert await other.remaining(TENANT, [NAME]) == [-1]
    await other.close()


@pytest.mark.parametrize("sizes", [(1,), (100,), (1, 100, 10), (100, 50, 25, 12, 6, 3, 1)])
async def test_heartbeats_are_kept_as_evidence_up_to_a_limit(
    store: RedisStore, redis: Redis, key_prefix: str, sizes: tuple[int, ...]
) -> None:
    """Who asks why an instance was expired is shown its last heartbeats; however large their batches are, the stream
    must not grow for ever.
    """
    await store.commit(TENANT, 0, [Write(b"e", (LEASE,))])
    began_ms = int(time.time() * 1000)
    for number in range(400):
        leases = [msgspec.structs.replace(LEASE, instance_id=f"i{n}") for n in range(sizes[number * len(sizes) // 400])]
        await store.beat(TENANT, leases, f"r{number}")
    (key,) = [key async for key in redis.scan_iter(match=f"{key_prefix}*:beats")]
    kept: Any = await redis.xrange(key)
    # Redis trims whole nodes of up to 4,096 bytes.
    size = sum(len(fields[b"b"]) + len(fields[b"r"]) + 64 for _, fields in kept)
    assert BEATS_MAX - 3000 < size < BEATS_MAX + 4096
    _, newest = kept[-1]
    assert newest[b"r"] == b"r399"
    assert began_ms - 1000 < int(newest[b"t"]) < began_ms + 60_000
    assert msgspec.msgpack.decode(newest[b"b"])[:2] == ["s/i0", LONG_MS]


async def test_whose_heartbeat_is_not_kept_any_more_is_not_guessed(store: RedisStore) -> None:
    """Better no replica than the wrong one."""
    other = msgspec.structs.replace(LEASE, instance_id="other")
    await store.commit(TENANT, 0, [Write(b"e", (LEASE, other))])
    await store.beat(TENANT, [LEASE], "r1")
    assert (await store.renewed(TENANT, LEASE)).replica == "r1"
    for _ in range(3 * BEATS_MAX // 2000):
        await store.beat(TENANT, [other] * 100, "r2")
    assert (await store.renewed(TENANT, LEASE)).replica == ""
    assert (await store.renewed(TENANT, other)).replica == "r2"


async def test_scripts_that_redis_forgot_are_loaded_again(own_server: RedisServer) -> None:
    """A restarted Redis knows no scripts: writes must go on without a restart of the registry."""
    store = RedisStore(own_server.url)
    await store.open()
    async with Redis.from_url(own_server.url) as client:
        for number in range(2):
            await client.script_flush()
            await use_everything(store, Tenant("t", str(number)))
    await store.close()


async def test_a_server_that_comes_back_from_its_file_has_log_and_leases(own_server: RedisServer) -> None:
    """What was acknowledged survives a crash of the private server that `registry serve` starts."""
    store = RedisStore(own_server.url)
    await store.open()
    head = await use_everything(store, TENANT)
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        await store.head(TENANT)
    with pytest.raises(StoreUnavailable):
        await store.commit(TENANT, head.epoch, [Write(b"lost")])
    with pytest.raises(StoreUnavailable):
        await store.read({TENANT: ORIGIN}, "", 0)
    own_server.start()
    assert await store.head(TENANT) == head
    assert [payload for _, payload in (await store.read({TENANT: ORIGIN}, "", 0)).events[TENANT]] == [
        b"e",
        b"gone",
        b"resumed",
    ]
    assert (await store.remaining(TENANT, [NAME]))[0] > LONG_MS - 60_000
    assert await store.commit(TENANT, head.epoch, [Write(b"next")]) == [head.next()]
    (mark,) = await store.snapshots.marks(TENANT)
    assert await store.snapshots.chunk(TENANT, mark.position, 0) == b"chunk"
    await store.close()


async def test_a_server_that_was_really_restarted_is_noticed(own_server: RedisServer) -> None:
    """With `appendfsync everysec` it has lost a second of leases: nobody may be judged before they are re-armed."""
    store = RedisStore(own_server.url)
    await store.open()
    head = await use_everything(store, TENANT)
    assert not (await store.pulse(TENANT, LONG_MS, False)).restarted
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        await store.pulse(TENANT, LONG_MS, False)
    own_server.start()
    gone = Proposal(LeaseName("s", "other"), "1-1", b"gone")
    for _ in range(2):
        assert (await store.pulse(TENANT, LONG_MS, False)).restarted
        with pytest.raises(OutageSuspected):
            await store.expire(TENANT, head.epoch, [gone], LONG_MS)
    assert await store.rearm(TENANT, [LEASE])
    assert (await store.pulse(TENANT, LONG_MS, True)).restarted
    assert not (await store.pulse(TENANT, LONG_MS, False)).restarted
    assert await store.expire(TENANT, head.epoch, [gone], LONG_MS) == [head.next()]
    await store.close()


async def test_the_mark_of_a_rearming_outlasts_any_outage_setting(
    store: RedisStore, redis: Redis, key_prefix: str
) -> None:
    """With more than a minute allowed, a resumption must still be told from none at all."""
    assert await store.rearm(TENANT, [LEASE])
    mark = Keys(key_prefix).rearming(TENANT)
    assert await redis.pttl(mark) == -1
    await redis.set(mark, int(await redis.get(mark) or 0) - 3_000_000, keepttl=True)
    assert await store.rearm(TENANT, [LEASE], going_on_ms=3_600_000)


async def test_a_pulse_of_an_earlier_version_counts_as_of_another_run(
    store: RedisStore, redis: Redis, key_prefix: str
) -> None:
    """It did not say in which run it was recorded; the registry that is upgraded must go on all the same."""
    (position,) = await store.commit(TENANT, 0, [Write(b"e")])
    assert position is not None
    pulse = Keys(key_prefix).pulse(TENANT)
    await redis.set(pulse, position.epoch)
    with pytest.raises(OutageSuspected):
        await store.expire(TENANT, position.epoch, [Proposal(NAME, "1-1", b"gone")], LONG_MS)
    await store.rearm(TENANT, [])
    await store.pulse(TENANT, LONG_MS, True)
    assert await store.expire(TENANT, position.epoch, [Proposal(NAME, "1-1", b"gone")], LONG_MS) == [position.next()]


async def test_chunks_of_a_snapshot_that_was_never_completed_lapse(
    store: RedisStore, redis: Redis, key_prefix: str
) -> None:
    """Writers die; what they leave must not fill Redis. What is complete stays until it is dropped."""
    position = Position(7, 3)
    keys = [Keys(key_prefix).chunk(TENANT, position, index) for index in range(2)]
    await store.snapshots.put_chunk(TENANT, position, 0, b"a")
    assert not await store.snapshots.put_mark(TENANT, mark_of(position, 2))
    assert 3_000_000 < await redis.pttl(keys[0]) <= 3_600_000
    await store.snapshots.put_chunk(TENANT, position, 1, b"b")
    assert await store.snapshots.put_mark(TENANT, mark_of(position, 2))
    assert [await redis.pttl(key) for key in keys] == [-1, -1]
    # Written again, as by a second replica that took the first for dead and then died itself.
    await store.snapshots.put_chunk(TENANT, position, 0, b"a")
    assert [await redis.pttl(key) for key in keys] == [-1, -1], "an hour later it would be gone"
    await store.snapshots.drop(TENANT, mark_of(position, 2))
    assert await redis.exists(*keys, Keys(key_prefix).snapshots(TENANT)) == 0


@pytest.mark.parametrize(
    "damage",
    [
        *("no MessagePack", "cut", "another form"),
        "no text",
    ],
)
async def test_a_mark_that_cannot_be_read_is_passed_over(
    store: RedisStore, redis: Redis, key_prefix: str, damage: str
) -> None:
    """One damaged mark, or one of a later version, must not keep a replica from the other snapshots."""
    await store.snapshots.put_chunk(TENANT, Position(7, 3), 0, b"a")
    good = mark_of(Position(7, 3), 1)
    assert await store.snapshots.put_mark(TENANT, good)
    written = msgspec.msgpack.encode(good)
    bad = {
        "no MessagePack": b"\xc1",
        "cut": written[:-1],
        "another form": msgspec.msgpack.encode({"format": "two"}),
        "no text": written.replace(b"r1", b"\xff\xfe"),
    }[damage]
    await redis.hset(Keys(key_prefix).snapshots(TENANT), "7-9", bad)
    assert await store.snapshots.marks(TENANT) == [good]


async def test_a_server_that_does_not_answer_counts_as_away_after_the_time_limit(own_server: RedisServer) -> None:
    """A request must not wait for ever on a Redis that hangs with its connections open."""
    store = RedisStore(own_server.url, RedisLimits(timeout_s=0.4))
    await store.open()
    head = await use_everything(store, TENANT)
    own_server.pause()
    for call in (
        lambda: store.head(TENANT),
        lambda: store.commit(TENANT, head.epoch, [Write(b"?")]),
        lambda: store.beat(TENANT, [LEASE], "r"),
        lambda: store.read({TENANT: head}, "", 10),
    ):
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await call()
    own_server.resume()
    assert await store.head(TENANT) in (head, head.next())
    await store.close()


async def test_no_server_is_told_as_unavailable_at_once() -> None:
    """`open` of a registry whose Redis is not there must say so."""
    store = RedisStore("unix:///tmp/there-is-no-such-socket")
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_redis_that_may_evict_keys_is_refused(own_server: RedisServer) -> None:
    """An evicted lease is a provider removed for nothing; an evicted log is everything lost."""
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
    store = RedisStore(own_server.url)
    with pytest.raises(StoreRefused, match="allkeys-lru"):
        await store.open()
    await store.close()


async def test_a_log_that_is_full_refuses_the_write_as_unavailable(own_server: RedisServer) -> None:
    """Out of memory is our failure (500011), not the client's; reads and heartbeats' answers go on."""
    store = RedisStore(own_server.url)
    await store.open()
    head = await use_everything(store, TENANT)
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.commit(TENANT, head.epoch, [Write(b"e")])
        assert await store.head(TENANT) == head
        await client.config_set("maxmemory", 0)
    assert await store.commit(TENANT, head.epoch, [Write(b"e")]) == [head.next()]
    await store.close()


@pytest.mark.parametrize("tenant", [TENANT, Tenant("a}{b", "c/{d} ü")])
async def test_a_lapse_is_prompted_where_redis_sends_notifications(own_server: RedisServer, tenant: Tenant) -> None:
    """With notifications on, a dead provider is noticed at once instead of with the next sweep."""
    store = RedisStore(own_server.url)
    await store.open()
    name = LeaseName("}:lease:/ü", "i-1")
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("notify-keyspace-events", "Ex")
        prompts = store.lapses()
        prompt = asyncio.ensure_future(anext(prompts))

        async def subscribed() -> bool:
            return any(count for _, count in await client.pubsub_numsub("__keyevent@0__:expired"))

        await until(subscribed, "the store to subscribe")
        await client.set("somebody:else's", "1", px=1)
        await store.commit(tenant, 0, [Write(None, (Lease(*name, 10),))])
        async with asyncio.timeout(5):
            assert await prompt == (tenant, name)
        await prompts.aclose()  # type: ignore[attr-defined]
    await store.close()


async def test_a_burst_of_scripts_leaves_connections_for_questions_to_the_server(own_server: RedisServer) -> None:
    """Scripts share a connection of their own: questions need others."""
    store = RedisStore(own_server.url, RedisLimits(asking_max=1, timeout_s=1.0))
    await store.open()
    for burst in (3, 8, 300, 3):
        await asyncio.gather(*(store.beat(TENANT, [LEASE], "r1") for _ in range(burst)))
    async with Redis.from_url(own_server.url) as client:
        await client.script_flush()
    assert await store.beat(TENANT, [LEASE], "r1") == [0], "the scripts were loaded again"
    assert await store.cannot(TENANT, "replica") == "Redis has no replica"
    await store.close()


async def test_who_follows_the_logs_does_not_queue_behind_questions(own_server: RedisServer) -> None:
    """Clients who ask for what is not there may fill the connections for questions, never the reader's own."""
    store = RedisStore(own_server.url, RedisLimits(asking_max=1, timeout_s=0.6))
    await store.open()
    pool = store._connections._asking.connection_pool  # type: ignore[attr-defined]
    taken = await pool.get_connection()
    with pytest.raises(StoreUnavailable):
        await store.read({}, "", 0)
    for block_ms in (0, 10):
        assert not (await store.read({}, "", block_ms, follow=True)).events
    await pool.release(taken)
    await store.close()


async def test_connections_are_opened_again_after_a_restart(own_server: RedisServer) -> None:
    """However many there are: no call fails because of one that was closed while nobody used it."""
    store = RedisStore(own_server.url, RedisLimits(timeout_s=1.0))
    await store.open()

    async def use() -> None:
        beats = (store.beat(TENANT, [LEASE], "r1") for _ in range(20))
        reads = (store.read({}, "", 10, follow=True) for _ in range(20))
        assert (await asyncio.gather(*beats, *reads))[:20] == [[0]] * 20

    await use()
    own_server.kill()
    own_server.start()
    await until(lambda: asyncio.sleep(0, True), "the loop to hear of it")
    for _ in range(3):
        await use()
    await store.close()
