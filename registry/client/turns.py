"""Turns: how many connections to one address are made at once, and who comes next.

A process of many clients whose registry was restarted would make all of its connections in one moment. None of them
would be ready in time, and each that is given up is made again. So they are made a few at a time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

#: Connections that are made at once, by all clients of an event loop, to one address. Each client has at most
#: `CONNECTIONS_MAX` of them, so no more than that wait for it.
AT_ONCE: Final = 16
#: `needed_by` of a connection that is made already, and has to shake hands yet.
BEGUN: Final = -math.inf


class Turns:
    """The turns of one event loop at one address. To wait for one has no limit of its own: each turn before has one."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._order = itertools.count()
        #: A heap: by what each is needed for, then as they came.
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return sum(not called.done() for _, _, called in self._waiting)

    @asynccontextmanager
    async def turn(self, needed_by: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the time of the block. `needed_by`: the smallest comes first.

        Raises:
            what `failed` says: the connection would fail.
        """
        if self._free:
            self._free -= 1
        else:
            await self._called(needed_by)
        try:
            yield
        finally:
            self._call_next()

    def failed(self, why: BaseException) -> None:
        """The address cannot be connected: those that wait for it need not find that out one after the other.

        Those that are connected wait on.
        """
        waiting, self._waiting = self._waiting, [one for one in self._waiting if one[0] == BEGUN]
        heapq.heapify(self._waiting)
        for needed_by, _, called in waiting:
            if needed_by != BEGUN and not called.done():
                called.set_exception(type(why)(*why.args))

    async def _called(self, needed_by: float) -> None:
        called = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (needed_by, next(self._order), called))
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled() and called.exception() is None:
                # The turn was given, and nobody is there to take it.
                self._call_next()
            raise

    def _call_next(self) -> None:
        while self._waiting:
            _, _, called = heapq.heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
