"""Worlds: the two adapters of `store.port` with the hands of fate - time that passes, logs that are lost."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from redis.asyncio import Redis, RedisCluster

from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import KeyName
from registry.store.keys import Keys
from registry.store.lease import LeaseName
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.store.port import Store
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from registry.store.soundness import read_position
from tests.support.clock import ManualClock
from tests.support.waiting import until


class World(ABC):
    """One shared store; every `connect` is another replica's connection to it."""

    def __init__(self) -> None:
        self._stores: list[Store] = []

    async def connect(self, read_max: int = 2000, lapse_memory_ms: int = 60_000) -> Store:
        store = self._new_store(read_max, lapse_memory_ms)
        await store.open()
        self._stores.append(store)
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    def part(self, tenant: Tenant) -> Tenant:
        """The tenant that stands for the part of the store in which this one is."""
        return self._stores[0].part(tenant)

    @abstractmethod
    def _new_store(self, read_max: int, lapse_memory_ms: int) -> Store: ...

    @abstractmethod
    async def now_ms(self) -> int:
        """The store's clock."""

    @abstractmethod
    async def pass_time(self, ms: int) -> None:
        """Return when the store's clock is `ms` further."""

    @abstractmethod
    async def let_lapse(self, tenant: Tenant, *names: LeaseName) -> None:
        """Return when these (short) leases have lapsed."""

    @abstractmethod
    async def move_pulse(self, tenant: Tenant, ms: int) -> None:
        """Make the last pulse of the tenant's part `ms` older; younger, even in the future, when negative."""

    @abstractmethod
    async def move_rearming(self, tenant: Tenant, ms: int) -> None:
        """Make the last re-arming of the tenant's part `ms` older; younger, even in the future, when negative."""

    @abstractmethod
    async def restart(self) -> None:
        """Make the store another run than the one in which the pulses were recorded."""

    @abstractmethod
    async def lose_log(self, tenant: Tenant) -> None:
        """Lose the tenant's log as a flush or an empty backup does."""

    @abstractmethod
    async def reader_waits(self) -> None:
        """Return when a blocking read is under way."""

    # -- damage --------------------------------------------------------------------------------------------------------

    @abstractmethod
    async def spoil(self, tenant: Tenant | None, name: KeyName) -> None:
        """Put something of another type under a key."""

    @abstractmethod
    async def write_head(self, tenant: Tenant, text: str) -> None:
        """Write into the head of a log what nobody should; a position, or not."""

    @abstractmethod
    async def put_entry(self, tenant: Tenant, position: Position, payload: bytes | None) -> None:
        """Append an entry behind the registry's back; None: one without the field in which an event stands."""

    @abstractmethod
    async def delete_entry(self, tenant: Tenant, position: Position) -> None: ...

    @abstractmethod
    async def announce_nobody(self) -> None:
        """Append an entry to the list of tenants that names none."""


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self._clock = ManualClock()
        self._server = MemoryServer(self._clock)

    def _new_store(self, read_max: int, lapse_memory_ms: int) -> Store:
        return MemoryStore(self._server, read_max, lapse_memory_ms)

    async def now_ms(self) -> int:
        return self._clock()

    async def pass_time(self, ms: int) -> None:
        self._clock.advance(ms)

    async def let_lapse(self, tenant: Tenant, *names: LeaseName) -> None:
        left = await self._stores[0].remaining(tenant, names)
        self._clock.advance(max(left) + 1)

    async def move_pulse(self, tenant: Tenant, ms: int) -> None:
        data = self._server.of(self.part(tenant))
        assert data.pulse is not None, "there was no pulse yet"
        last, run = data.pulse
        data.pulse = (last - ms, run)

    async def move_rearming(self, tenant: Tenant, ms: int) -> None:
        data = self._server.of(self.part(tenant))
        assert data.rearmed, "nothing was re-armed yet"
        data.rearmed -= ms

    async def restart(self) -> None:
        self._server.run += 1

    async def spoil(self, tenant: Tenant | None, name: KeyName) -> None:
        wrong = self._server.wrong if tenant is None else self._server.of(tenant).wrong
        wrong[name] = "list"

    async def write_head(self, tenant: Tenant, text: str) -> None:
        data, position = self._server.of(tenant), read_position(text)
        data.head, data.head_text = (data.head, text) if position is None else (position, "")

    async def put_entry(self, tenant: Tenant, position: Position, payload: bytes | None) -> None:
        self._server.of(tenant).events.append((position, payload or b""))
        self._server.wake()

    async def delete_entry(self, tenant: Tenant, position: Position) -> None:
        data = self._server.of(tenant)
        data.last = max(data.last, data.events[-1][0])
        data.events = [entry for entry in data.events if entry[0] != position]

    async def announce_nobody(self) -> None:
        self._server.tenants.append(None)

    async def lose_log(self, tenant: Tenant) -> None:
        self._server.data.pop(tenant, None)
        # The next history begins later, as it does where losing a log takes any time at all.
        self._clock.advance(1)

    async def reader_waits(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class RedisWorld(World):
    def __init__(self, url: str, prefix: str, client: Redis | RedisCluster | None = None) -> None:
        super().__init__()
        self._url = url
        self._keys = Keys(prefix)
        # Any: where both clients have a method, redis-py's types still tell them apart.
        self._redis: Any = client or Redis.from_url(url)

    async def close(self) -> None:
        await super().close()
        await self._redis.aclose()

    def _new_store(self, read_max: int, lapse_memory_ms: int) -> Store:
        limits = RedisLimits(prefix=self._keys.prefix, read_max=read_max, lapse_memory_ms=lapse_memory_ms)
        return RedisStore(self._url, limits)

    async def now_ms(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def pass_time(self, ms: int) -> None:
        end = await self.now_ms() + ms

        async def passed() -> bool:
            return await self.now_ms() >= end

        await until(passed, f"{ms} ms to pass")

    async def let_lapse(self, tenant: Tenant, *names: LeaseName) -> None:
        async def lapsed() -> bool:
            return set(await self._stores[0].remaining(tenant, names)) == {-1}

        await until(lapsed, f"the leases of {names} to lapse")

    async def move_pulse(self, tenant: Tenant, ms: int) -> None:
        pulse = self._keys.pulse(self.part(tenant))
        value = await self._redis.get(pulse)
        assert value is not None, "there was no pulse yet"
        last, run = value.split()
        await self._redis.set(pulse, b"%d %b" % (int(last) - ms, run))

    async def move_rearming(self, tenant: Tenant, ms: int) -> None:
        mark = self._keys.rearming(self.part(tenant))
        last = await self._redis.get(mark)
        assert last is not None, "nothing was re-armed yet"
        await self._redis.set(mark, int(last) - ms, keepttl=True)

    async def restart(self) -> None:
        """The server itself runs on for other tests: the pulses are of a run that is none of its own."""
        async for key in self._redis.scan_iter(match=_literally(self._keys.prefix) + "*:pulse"):
            last, _ = (await self._redis.get(key)).split()
            await self._redis.set(key, b"%b %b" % (last, b"0" * 40))

    async def spoil(self, tenant: Tenant | None, name: KeyName) -> None:
        await self._redis.delete(self._keys.key(tenant, name))
        await self._redis.rpush(self._keys.key(tenant, name), "not yours")

    async def write_head(self, tenant: Tenant, text: str) -> None:
        await self._redis.set(self._keys.head(tenant), text)

    async def put_entry(self, tenant: Tenant, position: Position, payload: bytes | None) -> None:
        fields = {"foo": "bar"} if payload is None else {"e": payload}
        await self._redis.xadd(self._keys.events(tenant), fields, position.text())

    async def delete_entry(self, tenant: Tenant, position: Position) -> None:
        await self._redis.xdel(self._keys.events(tenant), position.text())

    async def announce_nobody(self) -> None:
        await self._redis.xadd(self._keys.tenants_stream, {"foo": "bar"})

    async def lose_log(self, tenant: Tenant) -> None:
        async for key in self._redis.scan_iter(match=_literally(self._keys.tag(tenant)) + "*"):
            await self._redis.delete(key)
        await self.pass_time(2)

    async def reader_waits(self) -> None:
        async def blocked() -> bool:
            return int((await self._redis.info("clients"))["blocked_clients"]) > 0

        await until(blocked, "a reader to wait")


class ClusterWorld(RedisWorld):
    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix, RedisCluster.from_url(url.replace("redis+cluster", "redis").partition(",")[0]))

    async def reader_waits(self) -> None:
        channel = f"{self._keys.prefix}wake"
        await self._redis.initialize()

        async def subscribed() -> bool:
            # Each server counts its own; redis-py's sum over all of them is always 0.
            for node in self._redis.get_nodes():
                if any(count for _, count in await node.execute_command("PUBSUB NUMSUB", channel)):
                    return True
            return False

        await until(subscribed, "a reader to listen")


def _literally(text: str) -> str:
    return "".join(f"\\{character}" if character in "*?[]\\" else character for character in text)
