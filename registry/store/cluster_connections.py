"""Cluster connections: what the store needs of a Redis Cluster.

No single XREAD may span slots, so the reader follows the tenants' streams otherwise: scripts that append name the
stream on a channel that the whole cluster hears, and just that stream is read. Such a message arrives at most once, so
every stream is looked at now and then in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from registry.store.address import Address, Node
from registry.store.cluster import ClusterClient, Connect, Slots
from registry.store.connections import (
    FINDING_TIMEOUT_S,
    WAITING_MAX,
    Pools,
    StreamEntries,
    connection_options,
    pool_options,
)

#: Seconds until the next share of the streams is looked at unasked, and the number of shares.
SWEEP_EVERY_S: Final = 0.5
SWEEP_SHARES: Final = 4
#: Wake-ups taken before what they speak of is read.
HEARD_AT_ONCE: Final = 1000


class ClusterConnections:
    """Connections to the servers of a cluster."""

    #: The reader is told which streams have news, so that their number is no matter of how many it follows.
    followed_max = 10**9

    def __init__(self, address: Address, pools: Pools, wake_channel: str) -> None:
        self.wake_channel = wake_channel
        self._address = address
        self._connect_timeout_s = pools.timeout_s
        self._slots = Slots(address.nodes, self._connect(1, min(pools.timeout_s, FINDING_TIMEOUT_S)))
        self._scripts = ClusterClient(self._slots, self._connect(pools.scripts_max, pools.timeout_s))
        self._asking = ClusterClient(self._slots, self._connect(pools.asking_max, pools.timeout_s))
        self._waiting = ClusterClient(self._slots, self._connect(WAITING_MAX, None))
        self._reader = ClusterReader(self._slots, self._waiting, wake_channel, pools.timeout_s)

    def _connect(self, most: int, timeout_s: float | None) -> Connect:
        limits = pool_options(most, timeout_s, self._connect_timeout_s)

        def connect(node: Node) -> Redis:
            options = connection_options(self._address, node)
            return Redis(connection_pool=BlockingConnectionPool(**options, **limits))

        return connect

    async def run(self, digest: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        return await self._scripts.execute(keys[0], "EVALSHA", digest, len(keys), *keys, *arguments)

    async def ask(self, command: str, key: str, *arguments: str) -> Any:
        return await self._asking.execute(key, command, key, *arguments)

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        return await self._asking.get_each(keys)

    async def servers(self) -> Sequence[Redis]:
        self._slots.doubtful = True
        await self._slots.settle()
        return [self._scripts.at(node) for node in self._slots.masters]

    async def server_of(self, key: str) -> Redis:
        await self._slots.settle()
        return self._scripts.at(self._slots.holder(key))

    async def read(self, streams: Mapping[str, str], count: int, block_ms: int, follow: bool) -> StreamEntries:
        if follow or block_ms:
            return await self._reader.read(streams, count, block_ms)
        return await self._asking.read_each(streams, count)

    async def expirations(self) -> AsyncIterator[bytes]:
        """Every server speaks of its own keys only. One that joins later is heard after the next break."""
        await self._slots.settle()
        heard: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=1000)
        listening = [asyncio.create_task(self._listen(node, heard)) for node in self._slots.masters]
        try:
            while True:
                message = await heard.get()
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)

    async def _listen(self, node: Node, heard: asyncio.Queue[bytes | Exception]) -> None:
        try:
            async with self._waiting.at(node).pubsub() as subscription:
                await subscription.subscribe("__keyevent@0__:expired")
                async for message in subscription.listen():
                    if message["type"] == "message":
                        await heard.put(message["data"])
        except (RedisError, OSError) as error:
            self._slots.doubtful = True
            await heard.put(error)

    async def close(self) -> None:
        await self._reader.close()
        for client in (self._scripts, self._asking, self._waiting):
            await client.close()


class ClusterReader:
    """Waits for news in any of many streams."""

    def __init__(self, slots: Slots, client: ClusterClient, channel: str, timeout_s: float) -> None:
        self._slots = slots
        self._client = client
        self._channel = channel
        self._timeout_s = timeout_s
        self._subscription: PubSub | None = None
        #: Where the subscription is, and whose turn is next.
        self._node: Node | None = None
        self._turn = 0
        #: Streams that had nothing after the given id, and have not been heard of since.
        self._quiet: dict[str, str] = {}
        #: Streams that this round of the sweep has not looked at yet.
        self._unswept: list[str] = []
        self._sweep_at = 0.0
        #: When the server that is listened to was asked for a sign of life that it has not given yet.
        self._pinged_at: float | None = None
        self._lock = asyncio.Lock()

    async def read(self, streams: Mapping[str, str], count: int, block_ms: int) -> StreamEntries:
        """Entries after the given ids; waits up to `block_ms` for the first."""
        async with self._lock:
            try:
                return await self._read(streams, count, block_ms / 1000)
            except BaseException:
                # From here on wake-ups may be missed.
                self._slots.doubtful = True
                await self.close()
                raise

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(RedisError, OSError):
                await subscription.aclose()  # type: ignore[no-untyped-call]

    async def _read(self, streams: Mapping[str, str], count: int, block_s: float) -> StreamEntries:
        now = asyncio.get_running_loop().time
        end = now() + block_s
        wait_s = 0.0
        subscription = await self._subscribed()
        while True:
            await self._hear(subscription, wait_s)
            if now() >= self._sweep_at:
                await self._sweep(subscription, streams, now())
            due = {name: after for name, after in streams.items() if self._quiet.get(name) != after}
            if due:
                # A wake-up for what is appended from here on has not been heard yet, and is not lost.
                entries = await self._client.read_each(due, count)
                self._quiet.update(due)
                for name, _ in entries:
                    # There may be more.
                    self._quiet.pop(name.decode(), None)
                if entries:
                    return entries
            if now() >= end:
                return []
            wait_s = max(min(end, self._sweep_at) - now(), 0.0)

    async def _subscribed(self) -> PubSub:
        await self._slots.settle()
        if self._subscription is not None and self._node in self._slots.masters:
            return self._subscription
        await self.close()
        self._turn += 1
        self._node = self._slots.masters[self._turn % len(self._slots.masters)]
        self._subscription = self._client.at(self._node).pubsub()
        self._pinged_at = None
        await self._subscription.subscribe(self._channel)
        # From the confirmation on nothing is missed; what was before it is read.
        if await self._subscription.get_message(timeout=self._timeout_s) is None:
            raise RedisConnectionError("the subscription to wake-ups was not confirmed")
        self._quiet.clear()
        return self._subscription

    async def _hear(self, subscription: PubSub, wait_s: float) -> None:
        """Wait for a message; take it, and those that are there already."""
        for _ in range(HEARD_AT_ONCE):
            message = await subscription.get_message(timeout=wait_s)
            if message is None:
                return
            if message["type"] == "message":
                self._quiet.pop(message["data"].decode("utf-8", "replace"), None)
            elif message["type"] == "pong":
                self._pinged_at = None
            wait_s = 0.0

    async def _sweep(self, subscription: PubSub, streams: Mapping[str, str], now: float) -> None:
        """Doubt a share of what is quiet, and whether the server that is listened to is still there."""
        self._sweep_at = now + SWEEP_EVERY_S
        if not self._unswept:
            self._unswept = list(streams)
            self._quiet = {name: after for name, after in self._quiet.items() if name in streams}
        share = -(-len(streams) // SWEEP_SHARES)
        for name in self._unswept[-share:]:
            self._quiet.pop(name, None)
        del self._unswept[-share:]
        if self._pinged_at is None:
            self._pinged_at = now
            await subscription.ping()
        elif now - self._pinged_at > self._timeout_s:
            raise RedisConnectionError("the server that is listened to is silent")
