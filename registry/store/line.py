"""Line: one connection to a Redis server, over which many commands are under way at once.

A command is sent even while others wait: a server answers in the order in which it was asked. While some wait, those of
one turn of the loop are sent together. It speaks RESP2.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, cast

from hiredis import Reader, pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from registry.store.refusal import refusal

#: Commands that may wait for their answers: more than a server answers in the usual time limit, in usual sizes.
UNANSWERED_MAX: Final = 10_000

_NOTHING: Final = object()


class Line(asyncio.Protocol):
    """Errors are redis-py's. Nothing is sent twice, and a line that has ended stays so.

    Args:
        timeout_s: seconds until a command counts as unanswered, which ends the line: what comes afterwards could not be
            told from the answers to later commands. None where the caller looks after that.
        unanswered_max: number of commands that may wait for their answers; the next ones are refused unsent.
    """

    def __init__(self, timeout_s: float | None = None, unanswered_max: int = UNANSWERED_MAX) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._unanswered_max = unanswered_max
        self._transport: asyncio.WriteTransport | None = None
        #: What was said in this turn of the loop, and is sent at its end.
        self._unsent: list[bytes] = []
        self._reader = Reader(protocolError=InvalidResponse, replyError=refusal, notEnoughData=_NOTHING)
        #: Who waits for an answer, and since when, the eldest first.
        self._unanswered: deque[tuple[asyncio.Future[Any], float]] = deque()
        #: Looks after the eldest. One that finds nothing to do is not set again, so that it costs next to nothing.
        self._timer: asyncio.TimerHandle | None = None
        self._why = ""
        self.is_open = False

    def say(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command; the future has the answer.

        If the future is cancelled, the command is done nevertheless, and its answer belongs to nobody.
        """
        transport = self._transport
        if not self.is_open or transport is None:
            raise RedisConnectionError(self._why or "there is no connection yet")
        if len(self._unanswered) >= self._unanswered_max:
            raise RedisConnectionError(f"{self._unanswered_max} commands wait for an answer already")
        packed = pack_command(command)
        future = self._loop.create_future()
        if not self._unanswered:
            transport.write(packed)
        else:
            if not self._unsent:
                self._loop.call_soon(self._send, transport)
            self._unsent.append(packed)
        self._unanswered.append((future, self._loop.time()))
        if self._timer is None and self._timeout_s is not None:
            self._timer = self._loop.call_later(self._timeout_s, self._look_at_eldest)
        return future

    def _send(self, transport: asyncio.WriteTransport) -> None:
        if self.is_open:
            transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def end(self, why: str, kind: type[RedisError] = RedisConnectionError) -> None:
        """Break the connection. What was not answered may have been done, or not."""
        if self._why:
            return
        self.is_open, self._why = False, why
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        for future, _ in self._unanswered:
            if not future.done():
                future.set_exception(kind(why))
        self._unanswered.clear()

    def _look_at_eldest(self) -> None:
        self._timer = None
        if not self._unanswered or self._timeout_s is None:
            return
        due = self._unanswered[0][1] + self._timeout_s
        if self._loop.time() >= due:
            self.end(f"no answer within {self._timeout_s:g} s", RedisTimeoutError)
        else:
            self._timer = self._loop.call_at(due, self._look_at_eldest)

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one only in what it does
        if self._why:  # it was given up while it was opened
            self._transport.abort()
        else:
            self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                self._take(reply)
        except (RedisError, ValueError) as error:  # ValueError: a redirection to nowhere
            self.end(f"the server's answer cannot be read: {error}")

    def _take(self, reply: Any) -> None:
        if not self._unanswered:
            self.end(f"the server said unasked: {str(reply)[:100]}")
            return
        future, _ = self._unanswered.popleft()
        is_error = isinstance(reply, RedisError)
        if not future.done():
            if is_error:
                future.set_exception(reply)
            else:
                future.set_result(reply)
        if is_error and isinstance(reply, RedisConnectionError):
            self.end(
                str(reply)
            )  # it does not serve us as we are: the next line may be another one's, or say who we are

    def eof_received(self) -> None:
        self.end("the server has closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"the connection broke: {exc}" if exc else "the server has closed the connection")
