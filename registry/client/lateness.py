"""Lateness: a time-out says something about the other side only for as long as this side was there to see it.

An event loop that has no processor, or much to do, sees an answer later than it came. What it was late by is measured,
and every time-out is moved by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

#: Seconds between two looks at how late the loop is, while there is something to wait for. One turn of the loop counts
#: for no more than that, however long it takes.
LOOK_S: Final = 0.1
#: Seconds that are not worth moving anything.
USUAL_S: Final = 0.02


class Lateness:
    """The time-outs of one event loop. It keeps nothing that would keep the loop."""

    def __init__(self) -> None:
        #: With the loop's time at which each began.
        self._limits: dict[asyncio.Timeout, float] = {}
        self._look_at = 0.0
        self._looks = False

    async def wait_for(self, work: Awaitable[T], seconds: float | None, late: type[Exception] = TimeoutError) -> T:
        """`asyncio.wait_for`, in seconds in which the loop was there.

        Args:
            seconds: None: without a limit.
            late: what is raised after them.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                self._limits[limit] = asyncio.get_running_loop().time()
                if not self._looks:
                    self._look_later()
                try:
                    return await work
                finally:
                    del self._limits[limit]
        except TimeoutError as exc:
            raise late(str(exc)) from exc

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._look_at > USUAL_S:
            for limit, begun in self._limits.items():
                when = limit.when()
                if when is not None and not limit.expired():
                    # What began meanwhile has lost no more than since then.
                    limit.reschedule(when + now - max(self._look_at, begun))
        self._looks = False
        if self._limits:
            self._look_later()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._looks = True
        self._look_at = loop.time() + LOOK_S
        loop.call_at(self._look_at, self._look)
