"""Cluster: a Redis Cluster as the store sees it. Every command has a key, and goes to the server that holds its slot.

Not redis-py's own cluster client: that one sends a command again after a lost connection, closes every connection on
its fifth redirection, may send ASKING on another connection than the command, and cannot wait for a free one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.commands import AsyncCoreCommands
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MovedError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from registry.store.address import Address, Node
from registry.store.connections import (
    FINDING_TIMEOUT_S,
    WAITING_MAX,
    Pools,
    StreamEntries,
    close_client,
    connection_options,
    pool_options,
    stream_entries,
)

logger = logging.getLogger(__name__)

#: How often a command follows a redirection before it counts as unanswered.
REDIRECTIONS_MAX: Final = 8
#: While something is wrong the servers are asked for their slots at most every so many seconds.
LOOK_EVERY_S: Final = 0.1
#: Streams asked for in one go.
READS_AT_ONCE: Final = 250

Connect = Callable[[Node], Redis]


class Slots:
    """Which server holds which slot, as one of the servers said last; asked again after anything that contradicts it."""

    def __init__(self, seeds: Sequence[Node], connect: Connect) -> None:
        self._seeds = tuple(seeds)
        self._connect = connect
        #: Everyone who may be asked, the next one first.
        self._known: list[Node] = list(seeds)
        self._holders: list[Node | None] = []
        self._look_at = 0.0
        self._lock = asyncio.Lock()
        self.masters: tuple[Node, ...] = ()
        #: Whether something contradicted what is known here.
        self.doubtful = True

    def holder(self, key: str | bytes) -> Node:
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        node = self._holders[slot]
        if node is None:
            self.doubtful = True
            raise ClusterDownError(f"no server holds slot {slot}")
        return node

    async def settle(self) -> None:
        """Ask again if there is reason to, but not all the time."""
        if not self.doubtful:
            return
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self.doubtful and (now >= self._look_at or not self._holders):
                await self._look()
                self._look_at = asyncio.get_running_loop().time() + LOOK_EVERY_S

    async def _look(self) -> None:
        """Ask one server after the other, beginning each time with another: one that is cut off must not mislead us."""
        failure: Exception | None = None
        for _ in range(len(self._known)):
            node = self._known.pop(0)
            self._known.append(node)
            client = self._connect(node)
            try:
                self._take(node, await client.execute_command("CLUSTER SLOTS"))
                return
            except (RedisError, OSError, TimeoutError) as error:
                failure = error
            finally:
                await close_client(client)
        if not self._holders:
            raise RedisConnectionError(f"no server of the cluster tells who holds which slot: {failure}") from failure

    def _take(self, told_by: Node, slots: Mapping[tuple[int, int], Mapping[str, Any]]) -> None:
        holders: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        masters: dict[Node, None] = {}
        replicas: dict[Node, None] = {}
        for (first, last), holding in slots.items():
            master = _node(holding["primary"], told_by)
            masters[master] = None
            replicas.update((_node(replica, told_by), None) for replica in holding["replicas"])
            holders[first : last + 1] = [master] * (last + 1 - first)
        if not masters:
            raise ClusterDownError(f"{told_by.host}:{told_by.port} knows of no slots")
        self._holders = holders
        self.masters = tuple(masters)
        current = {*masters, *replicas, *self._seeds}
        stay = [node for node in self._known if node in current]
        self._known = stay + [node for node in current if node not in stay]
        self.doubtful = False

    def moved(self, slot: int, node: Node) -> None:
        """A server says who holds one of its former slots; others may have moved too."""
        self._holders[slot] = node
        self.doubtful = True


def _node(told: Sequence[Any], told_by: Node) -> Node:
    """A server as (host, port, …); one that does not know its own address is meant by the one it was reached at."""
    host = told[0].decode() if isinstance(told[0], bytes) else told[0]
    return Node(host or told_by.host, int(told[1]))


class ClusterClient(AsyncCoreCommands):
    """Commands of redis-py, each to the server that holds its key. All keys of one command lie in one slot."""

    def __init__(self, slots: Slots, connect: Connect) -> None:
        self._slots = slots
        self._connect = connect
        self._clients: dict[Node, Redis] = {}

    def at(self, node: Node) -> Redis:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self._connect(node)
        return client

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await self._slots.settle()
        node = self._slots.holder(_key_of(args))
        asking = False
        for _ in range(REDIRECTIONS_MAX):
            try:
                if asking:
                    return await _ask(self.at(node), args, options)
                return await self.at(node).execute_command(*args, **options)
            except MovedError as error:
                node, asking = Node(error.host or node.host, error.port), False
                self._slots.moved(error.slot_id, node)
            except AskError as error:
                node, asking = Node(error.host or node.host, error.port), True
            except TryAgainError:
                # The slot is on its way: that takes as long as it takes.
                raise
            except (ClusterDownError, RedisConnectionError, RedisTimeoutError, OSError, TimeoutError):
                self._slots.doubtful = True
                raise
        raise ClusterError(f"{REDIRECTIONS_MAX} servers in a row said that another one holds {_key_of(args)!r}")

    async def read_each(self, streams: Mapping[str, str], count: int) -> StreamEntries:
        """Entries after the given ids, of streams anywhere: all servers at once, each asked for all of its streams."""
        await self._slots.settle()
        by_node: dict[Node, list[str]] = defaultdict(list)
        for stream in streams:
            by_node[self._slots.holder(stream)].append(stream)
        found = await asyncio.gather(
            *(self._read_from(node, {name: streams[name] for name in names}, count) for node, names in by_node.items()),
            return_exceptions=True,
        )
        entries: StreamEntries = []
        for part in found:
            if isinstance(part, BaseException):
                raise part
            entries += part
        return entries

    async def _read_from(self, node: Node, streams: Mapping[str, str], count: int) -> StreamEntries:
        entries: StreamEntries = []
        names = list(streams)
        for start in range(0, len(names), READS_AT_ONCE):
            some = names[start : start + READS_AT_ONCE]
            pipeline = self.at(node).pipeline(transaction=False)
            for name in some:
                pipeline.xread({name: streams[name]}, count=count)
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError):
                self._slots.doubtful = True
                raise
            for name, reply in zip(some, replies, strict=True):
                if isinstance(reply, (AskError, ClusterDownError)):
                    # Follows the redirection (MOVED is one kind of it), or says again what is wrong.
                    reply = await self.xread({name: streams[name]}, count=count)
                elif isinstance(reply, Exception):
                    raise reply
                entries += stream_entries(reply)
        return entries

    async def close(self) -> None:
        for client in self._clients.values():
            await close_client(client)


async def _ask(client: Redis, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Send a command to the server that a slot is being moved to; ASKING must be said right before it."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ASKING")
    pipeline.execute_command(*args, **options)
    reply = (await pipeline.execute(raise_on_error=False))[1]
    if isinstance(reply, Exception):
        raise reply
    return reply


def _key_of(args: Sequence[Any]) -> str | bytes:
    """The first key of a command."""
    match args[0]:
        case "EVALSHA":
            key = args[3]
        case "XREAD":
            key = args[list(args).index(b"STREAMS") + 1]
        case _:
            key = args[1]
    assert isinstance(key, (str, bytes)), f"{args[0]} has no key"
    return key


class ClusterConnections:
    """Connections to the servers of a cluster."""

    def __init__(self, address: Address, pools: Pools, wake_channel: str) -> None:
        self.wake_channel = wake_channel
        self._address = address
        self._connect_timeout_s = pools.timeout_s
        self._slots = Slots(address.nodes, self._connect(1, min(pools.timeout_s, FINDING_TIMEOUT_S)))
        self._scripts = ClusterClient(self._slots, self._connect(pools.scripts_max, pools.timeout_s))
        self._asking = ClusterClient(self._slots, self._connect(pools.asking_max, pools.timeout_s))
        self._waiting = ClusterClient(self._slots, self._connect(WAITING_MAX, None))
        self._reader = ClusterReader(self._slots, self._waiting, wake_channel, pools.timeout_s)
        self.scripts: AsyncCoreCommands = self._scripts
        self.asking: AsyncCoreCommands = self._asking

    def _connect(self, most: int, timeout_s: float | None) -> Connect:
        limits = pool_options(most, timeout_s, self._connect_timeout_s)

        def connect(node: Node) -> Redis:
            options = connection_options(self._address, node)
            return Redis(connection_pool=BlockingConnectionPool(**options, **limits))

        return connect

    async def servers(self) -> Sequence[Redis]:
        self._slots.doubtful = True
        await self._slots.settle()
        return [self._scripts.at(node) for node in self._slots.masters]

    async def server_of(self, key: str) -> Redis:
        await self._slots.settle()
        return self._scripts.at(self._slots.holder(key))

    async def read(self, streams: Mapping[str, str], count: int, block_ms: int) -> StreamEntries:
        if block_ms:
            return await self._reader.read(streams, count, block_ms)
        return await self._asking.read_each(streams, count)

    async def messages(self, channel: str) -> AsyncIterator[bytes]:
        """Every server speaks of its own keys only. One that joins later is heard after the next break."""
        await self._slots.settle()
        heard: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=1000)
        listening = [asyncio.create_task(self._listen(node, channel, heard)) for node in self._slots.masters]
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

    async def _listen(self, node: Node, channel: str, heard: asyncio.Queue[bytes | Exception]) -> None:
        try:
            async with self._waiting.at(node).pubsub() as subscription:
                await subscription.subscribe(channel)
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
