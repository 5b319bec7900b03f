"""Cluster: a Redis Cluster as the store sees it. Every command has a key, and goes to the server that holds its slot.

Not redis-py's own cluster client: that one sends a command again after a lost connection, closes every connection on
its fifth redirection, may send ASKING on another connection than the command, and cannot wait for a free one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis
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

from registry.store.address import Node
from registry.store.connections import (
    FINDING_TIMEOUT_S,
    StreamEntries,
    close_client,
    execute,
    stream_entries,
    xread_command,
)

#: How often a command follows a redirection before it counts as unanswered.
REDIRECTIONS_MAX: Final = 8
#: While something is wrong the servers are asked for their slots, at most once in this number of seconds.
LOOK_EVERY_S: Final = 0.1
#: Keys that one server is asked about in one go.
ASKED_AT_ONCE: Final = 250

Connect = Callable[[Node], Redis]


class Slots:
    """Which server holds which slot, as one of them said last. Asked again after anything that contradicts it."""

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
        """Look for as long as nothing is known, else for a moment: everybody waits for it."""
        limit_s = FINDING_TIMEOUT_S if self._holders else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._ask_around()

    async def _ask_around(self) -> None:
        """Ask one server after the other, beginning each time with another: one that is cut off must not mislead us."""
        failure: Exception | None = None
        for _ in range(len(self._known)):
            node = self._known.pop(0)
            self._known.append(node)
            client = self._connect(node)
            try:
                self._take(node, await execute(client, "CLUSTER SLOTS"))
                return
            except (RedisError, OSError, TimeoutError) as error:
                failure = error
            finally:
                await close_client(client)
        if not self._holders:
            raise RedisConnectionError(f"no server of the cluster tells who holds which slot: {failure}") from failure

    def _take(self, told_by: Node, slots: Sequence[Sequence[Any]]) -> None:
        """Believe a server: ranges of slots, each as first, last, its master, and its replicas."""
        holders: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        masters: dict[Node, None] = {}
        replicas: dict[Node, None] = {}
        for first, last, holder, *others in slots:
            master = _node(holder, told_by)
            masters[master] = None
            replicas.update((_node(other, told_by), None) for other in others)
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
    host = (told[0] or b"").decode()
    return Node(told_by.host if host in ("", "?") else host, int(told[1]))


class ClusterClient:
    """Sends each command to the server that holds its key. All keys of one command lie in one slot."""

    def __init__(self, slots: Slots, connect: Connect) -> None:
        self._slots = slots
        self._connect = connect
        self._clients: dict[Node, Redis] = {}

    def at(self, node: Node) -> Redis:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self._connect(node)
        return client

    async def execute(self, key: str, *command: Any) -> Any:
        await self._slots.settle()
        node = self._slots.holder(key)
        asking = False
        for _ in range(REDIRECTIONS_MAX):
            try:
                if asking:
                    return await _execute_asking(self.at(node), command)
                return await execute(self.at(node), *command)
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
        raise ClusterError(f"{REDIRECTIONS_MAX} servers in a row said that another one holds {key!r}")

    async def read_each(self, streams: Mapping[str, str], count: int) -> StreamEntries:
        """Entries after the given ids, of streams anywhere."""
        commands = {name: xread_command({name: after}, count) for name, after in streams.items()}
        replies = await self._execute_each(commands)
        return [found for reply in replies.values() for found in stream_entries(reply)]

    async def get_each(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys anywhere."""
        replies = await self._execute_each({key: ("GET", key) for key in keys})
        return [replies[key] for key in keys]

    async def _execute_each(self, commands: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        """Replies by the commands' keys: all servers at once, each asked for everything about its own keys."""
        await self._slots.settle()
        by_node: dict[Node, list[str]] = defaultdict(list)
        for key in commands:
            by_node[self._slots.holder(key)].append(key)
        found = await asyncio.gather(
            *(self._execute_at(node, {key: commands[key] for key in keys}) for node, keys in by_node.items()),
            return_exceptions=True,
        )
        replies: dict[str, Any] = {}
        for part in found:
            if isinstance(part, BaseException):
                raise part
            replies.update(part)
        return replies

    async def _execute_at(self, node: Node, commands: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        keys = list(commands)
        for start in range(0, len(keys), ASKED_AT_ONCE):
            some = keys[start : start + ASKED_AT_ONCE]
            pipeline = self.at(node).pipeline(transaction=False)
            for key in some:
                pipeline.execute_command(*commands[key])
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError):
                self._slots.doubtful = True
                raise
            for key, reply in zip(some, replies, strict=True):
                if isinstance(reply, (AskError, ClusterDownError)):
                    # Follows the redirection (MOVED is one kind of it), or says again what is wrong.
                    reply = await self.execute(key, *commands[key])
                elif isinstance(reply, Exception):
                    raise reply
                found[key] = reply
        return found

    async def close(self) -> None:
        for client in self._clients.values():
            await close_client(client)


async def _execute_asking(client: Redis, command: Sequence[Any]) -> Any:
    """Send a command to the server that a slot is being moved to; ASKING must be said right before it."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ASKING")
    pipeline.execute_command(*command)
    reply = (await pipeline.execute(raise_on_error=False))[1]
    if isinstance(reply, Exception):
        raise reply
    return reply
