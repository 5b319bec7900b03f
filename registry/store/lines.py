"""Lines: the ways of the commands that are run all the time. redis-py's pool costs more than such a command itself.

Commands that are answered at once share a line; those that wait on purpose have one each, because all that comes behind
them would wait too.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from registry.store.dial import Dial
from registry.store.line import UNANSWERED_MAX, Line


class SharedLine:
    """One line for all; when it has ended, the next command opens another. Errors as of `Line`.

    Args:
        timeout_s: seconds until a command counts as unanswered.
    """

    def __init__(self, dial: Dial, timeout_s: float) -> None:
        self._dial = dial
        self._timeout_s = timeout_s
        #: The newest one.
        self.line: Line | None = None
        self._opening: asyncio.Task[Line] | None = None
        #: Commands that wait until it is open.
        self._waiting = 0

    async def execute(self, *command: Any) -> Any:
        line = self.line
        if line is None or not line.is_open:
            line = await self._opened()
        return await line.say(*command)

    async def _opened(self) -> Line:
        if self._waiting >= UNANSWERED_MAX:
            raise RedisConnectionError(f"{UNANSWERED_MAX} commands wait for a connection already")
        if self._opening is None:
            self._opening = asyncio.create_task(self._dial.open(self._timeout_s))
            self._opening.add_done_callback(self._take)
        self._waiting += 1
        try:
            return await asyncio.shield(self._opening)
        finally:
            self._waiting -= 1

    def _take(self, opening: asyncio.Task[Line]) -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self.line = opening.result()

    def end(self, why: str) -> None:
        """Let the next command open another line."""
        if self.line is not None:
            self.line.end(why)

    async def close(self) -> None:
        """Open no line any more; those that are open are the dial's to end."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))


class OwnLines:
    """A line for each command that is under way. The time is limited by the caller, who cancels.

    Args:
        most: number of lines; when all are in use, a call waits for one.
    """

    def __init__(self, dial: Dial, most: int) -> None:
        self._dial = dial
        self._room = asyncio.Semaphore(most)
        self._free: list[Line] = []

    async def execute(self, *command: Any) -> Any:
        async with self._room:
            line = await self._free_one()
            try:
                reply = await line.say(*command)
            except ResponseError:
                self._free.append(line)  # it has answered
                raise
            except BaseException:
                line.end("its command was given up")
                raise
            self._free.append(line)
            return reply

    async def _free_one(self) -> Line:
        while self._free:
            line = self._free.pop()
            if line.is_open:
                return line
        return await self._dial.open(None)
