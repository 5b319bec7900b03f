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
        #: A heap: by what each is needed for, then as they came; behind it the patience of each.
        self._waiting: list[tuple[float, int, asyncio.Future[None], float]] = []

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return sum(not called.done() for _, _, called, _ in self._waiting)

    @asynccontextmanager
    async def turn(self, needed_by: float, patience: float = math.inf) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the time of the block.

        Args:
            needed_by: the smallest comes first.
            patience: seconds that the connection may take.

        Raises:
            what `failed` says: the connection would fail.
        """
        if self._free:
            self._free -= 1
        else:
            await self._called(needed_by, patience)
        try:
            yield
        finally:
            self._call_next()

    def failed(self, why: BaseException, within: float = math.inf) -> None:
        """The address cannot be connected within this number of seconds, or ever.

        Those that wait for it need not find that out one after the other. Those that are connected already, and those
        that have more patience, wait on.
        """
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            needed_by, _, called, patience = one
            if needed_by == BEGUN or patience > within:
                self._waiting.append(one)
            elif not called.done():
                called.set_exception(type(why)(*why.args))
        heapq.heapify(self._waiting)

    async def _called(self, needed_by: float, patience: float) -> None:
        called = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (needed_by, next(self._order), called, patience))
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled() and called.exception() is None:
                # The turn was given, and nobody is there to take it.
                self._call_next()
            raise

    def _call_next(self) -> None:
        while self._waiting:
            _, _, called, _ = heapq.heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
