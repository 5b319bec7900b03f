"""Kept: connections at hand for the commands that are run all the time.

To take a connection from redis-py's pool and to give it back costs more than the command itself: locks, conditions,
counters, and a look at the socket. What is kept here is taken and given back without any of that; the pool still makes
the connections, limits their number, and is asked again whenever one has ended.

So does its way to limit the time: a task for what is sent, and a timeout for what is read. Here one timer ends the
connection that has not answered.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


class Kept:
    """Runs commands of one client. Errors are redis-py's; nothing is sent twice.

    Args:
        timeout_s: seconds until a command counts as unanswered; None where the caller looks after that.
    """

    def __init__(self, client: Redis, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = client.connection_pool
        self._meanings = client.response_callbacks
        self._free: list[AbstractConnection] = []
        #: Calls that wait for the pool, because every connection is in use.
        self._waiting = 0

    async def execute(self, name: str, *arguments: Any) -> Any:
        connection = self._free.pop() if self._free else await self._from_pool()
        if not _is_open(connection):
            await self._end(connection)
            connection = await self._from_pool()
        try:
            reply = await self._exchange(connection, connection.pack_command(name, *arguments))
        except ResponseError:
            await self._give_back(connection)  # it has answered
            raise
        except BaseException:
            await self._end(connection)
            raise
        await self._give_back(connection)
        meaning = self._meanings.get(name)
        return reply if meaning is None else meaning(reply)

    async def _exchange(self, connection: AbstractConnection, packed: Any) -> Any:
        if self._timeout_s is None:
            return await _send_and_read(connection, packed)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        limit = self._loop.call_later(self._timeout_s, _break, connection)
        try:
            return await _send_and_read(connection, packed)
        except (RedisError, OSError) as exc:
            if not isinstance(exc, ResponseError) and self._loop.time() >= limit.when():
                raise RedisTimeoutError(f"no answer within {self._timeout_s:g} s") from exc
            raise
        finally:
            limit.cancel()

    async def _from_pool(self) -> AbstractConnection:
        self._waiting += 1
        try:
            connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            return connection
        finally:
            self._waiting -= 1

    async def _give_back(self, connection: AbstractConnection) -> None:
        if not _is_open(connection):
            await self._end(connection)
        elif self._waiting:
            await self._pool.release(connection)
        else:
            self._free.append(connection)

    async def _end(self, connection: AbstractConnection) -> None:
        """Close it: whatever it may still be sent belongs to nobody. The pool opens it again when it is needed."""
        try:
            await connection.disconnect(nowait=True)
        except (RedisError, OSError):
            pass
        finally:
            await self._pool.release(connection)


async def _send_and_read(connection: AbstractConnection, packed: Any) -> Any:
    writer = connection._writer
    if writer is None:
        raise RedisConnectionError("the connection is closed")
    writer.writelines(packed)
    await writer.drain()
    return await connection.read_response(timeout=math.inf)


def _break(connection: AbstractConnection) -> None:
    if connection._writer is not None:
        connection._writer.transport.abort()


def _is_open(connection: AbstractConnection) -> bool:
    """Whether nobody has closed it: the server, for one, that was started anew, or the time limit."""
    reader, writer = connection._reader, connection._writer
    return reader is not None and not reader.at_eof() and writer is not None and not writer.is_closing()
