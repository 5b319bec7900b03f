"""Connections: how the Redis store reaches its server or servers, in each way in which Redis is deployed.

A single server, a master that sentinels name (`sentinel`), and a cluster (`cluster`) look alike from here on: two
clients whose commands go where their key is, a reader of streams, and the servers themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from registry.store.address import Address, Node
from registry.store.dial import Dial
from registry.store.lines import OwnLines, SharedLine
from registry.store.password_file import PasswordFile
from registry.store.tls import TlsConnection

#: Seconds after which a sentinel, or a server asked for the cluster's slots, counts as not answering.
FINDING_TIMEOUT_S: Final = 1.0
#: How often the sentinels are asked who is master now, seconds: the old one may go on answering for a while.
LOOK_EVERY_S: Final = 1.0
#: Streams that the reader asks for in one XREAD: each of them costs Redis about a microsecond, each time.
FOLLOWED_MAX: Final = 64
#: Connections that wait on purpose: the reader's, those of the groups of quiet streams, and those of notifications.
WAITING_MAX: Final = 128

StreamEntries: TypeAlias = "list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]"


@dataclass(frozen=True, slots=True)
class Pools:
    """Connections to each server: of a cluster for scripts, of all for questions; and the time limit of a command."""

    scripts_max: int
    asking_max: int
    timeout_s: float


class Connections(Protocol):
    """What the store needs of Redis. Errors are redis-py's; nothing is sent twice, unless Redis sent it elsewhere.

    Scripts and questions each have their own connections, so that clients who ask for what is not there cannot hold up
    heartbeats and pulses. When all that wait for one answer at a time are in use, a call waits for one.
    """

    #: The channel on which appending scripts must name the stream, "" for none.
    wake_channel: str
    #: As in `store.port.Store`.
    followed_max: int

    async def run(self, digest: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a loaded script, where its keys are."""

    async def ask(self, command: str, key: str, *arguments: str) -> Any:
        """Ask a question about a key, where that is. The fields of a stream's entry come as a dict or as a list."""

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The values of many keys, on any server."""

    async def servers(self) -> Sequence[Redis]:
        """Every server that holds data of its own."""

    async def server_of(self, key: str) -> Redis:
        """The one that holds `key`."""

    async def read(self, streams: Mapping[str, str], count: int, block_ms: int, follow: bool) -> StreamEntries:
        """Entries after the given ids; waits up to `block_ms` for the first.

        Args:
            follow: on the way that is the follower's own. Those that wait take it too.
        """

    def expirations(self) -> AsyncIterator[bytes]:
        """The names of keys whose time is over, as far as Redis speaks of them."""

    async def close(self) -> None: ...


class OneMaster:
    """Connections to one server: always the same, or the one that is master now."""

    wake_channel = ""
    followed_max = FOLLOWED_MAX

    def __init__(self, dial: Dial, pools: Sequence[ConnectionPool], timeout_s: float) -> None:
        self._dial = dial
        self._scripts, self._questions = SharedLine(dial, timeout_s), SharedLine(dial, timeout_s)
        self._reading = OwnLines(dial, WAITING_MAX)
        self._asking, self._listening = (Redis(connection_pool=pool) for pool in pools)
        self._database = int(pools[0].connection_kwargs.get("db") or 0)
        #: When a server that takes no writes may be left next (loop's time), and whether one has been lately.
        self._leave_at = 0.0
        self._has_left = False

    async def run(self, digest: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if self._has_left:
            await self._arrive()
        try:
            return await self._scripts.execute("EVALSHA", digest, len(keys), *keys, *arguments)
        except ResponseError as error:
            if says_replica(error):
                self._leave(error)
            raise

    def _leave(self, refusal: ResponseError) -> None:
        """The server has become a replica. Its name may lead to the new master, but no connection that is open does."""
        now = asyncio.get_running_loop().time()
        if now >= self._leave_at:
            self._leave_at, self._has_left = now + LOOK_EVERY_S, True
            self._scripts.end(str(refusal))

    async def _arrive(self) -> None:
        """If there is a master now, all that is still connected to the server before follows."""
        told = await self._scripts.execute("INFO", "replication")
        if not self._has_left:
            return  # somebody else has seen to it meanwhile
        self._has_left = False
        if b"role:master" not in told:
            return
        self._dial.let_go("another server takes the writes now", but=self._scripts.line)
        for client in (self._asking, self._listening):
            await client.connection_pool.disconnect()

    async def ask(self, command: str, key: str, *arguments: str) -> Any:
        return await self._questions.execute(command, key, *arguments)

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        found: Sequence[bytes | None] = await self._questions.execute("MGET", *keys) if keys else ()
        return found

    async def servers(self) -> Sequence[Redis]:
        return [self._asking]

    async def server_of(self, key: str) -> Redis:
        return self._asking

    async def read(self, streams: Mapping[str, str], count: int, block_ms: int, follow: bool) -> StreamEntries:
        command = xread_command(streams, count, block_ms)
        if follow or block_ms:
            return _plain_entries(await self._reading.execute(*command))
        return stream_entries(await execute(self._asking, *command))

    async def expirations(self) -> AsyncIterator[bytes]:
        async with self._listening.pubsub() as subscription:
            await subscription.subscribe(f"__keyevent@{self._database}__:expired")
            async for message in subscription.listen():
                if message["type"] == "message":
                    yield message["data"]

    async def close(self) -> None:
        await self._scripts.close()
        await self._questions.close()
        self._dial.let_go("it was closed")
        for client in (self._asking, self._listening):
            await close_client(client)


def one_server(address: Address, pools: Pools) -> OneMaster:
    options = connection_options(address)
    return OneMaster(
        Dial(options, pools.timeout_s),
        [
            BlockingConnectionPool(**options, **pool_options(most, timeout_s, pools.timeout_s))
            for most, timeout_s in pool_sizes(pools)
        ],
        pools.timeout_s,
    )


def pool_sizes(pools: Pools) -> list[tuple[int, float | None]]:
    """Connections and time limit of the pools for questions, and for notifications, which come when they come."""
    return [(pools.asking_max, pools.timeout_s), (WAITING_MAX, None)]


# -- what all of them share --------------------------------------------------------------------------------------------


def connection_options(address: Address, node: Node | None = None) -> dict[str, Any]:
    """The options of each connection, as redis-py names them."""
    options: dict[str, Any] = dict(parse_url(address.url))
    if address.password_file:
        options.pop("password", None)
        options["credential_provider"] = PasswordFile(address.password_file, options.pop("username", None) or "")
    if options.get("connection_class") is SSLConnection:
        options["connection_class"] = TlsConnection
    if node is not None:
        options.update(host=node.host, port=node.port)
    return options


def pool_options(most: int, timeout_s: float | None, connect_timeout_s: float) -> dict[str, Any]:
    return {
        "max_connections": most,
        "timeout": connect_timeout_s,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry": never_again(),
        "decode_responses": False,
        # What it would say to the server is read from a file, for each connection.
        "driver_info": None,
    }


def says_replica(error: ResponseError) -> bool:
    """Whether a server refuses because it is no master any more."""
    # Redis 6.2 hides it in the message of the script's failure.
    return isinstance(error, ReadOnlyError) or "READONLY" in str(error)


def never_again() -> Retry:
    """A commit that failed may have happened: never send it twice behind our back."""
    return Retry(NoBackoff(), 0)


async def execute(client: Redis, *command: Any) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def xread_command(streams: Mapping[str, str], count: int, block_ms: int = 0) -> tuple[Any, ...]:
    waiting = ("BLOCK", block_ms) if block_ms else ()
    return ("XREAD", "COUNT", count, *waiting, "STREAMS", *streams.keys(), *streams.values())


def stream_entries(reply: Any) -> StreamEntries:
    """XREAD's reply as (key, entries) pairs, whether it came by RESP2 (pairs) or RESP3 (a map of lists of lists)."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return [(key, [entry for chunk in chunks for entry in chunk]) for key, chunks in reply.items()]
    return [(key, entries) for key, entries in reply]


def _plain_entries(reply: Any) -> StreamEntries:
    """The same, as the server sends it by RESP2: the fields of an entry are a list of names and values in turn."""
    return [
        (key, [(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in entries])
        for key, entries in reply or ()
    ]


async def close_client(client: Redis) -> None:
    with contextlib.suppress(RedisError, OSError):
        await client.aclose()
        await client.connection_pool.disconnect()
