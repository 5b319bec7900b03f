"""Patience: how long requests wait for the store before they are told that it does not answer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, TypeVar

from registry.domain.errors import StoreUnavailable

R = TypeVar("R")


class Patience:
    """Futures with one time limit, and one timer for all of them: one for each would cost more than a decision.

    Args:
        limit_s: seconds.
        message: what those are told who have waited for that long.
    """

    def __init__(self, limit_s: float, message: str) -> None:
        self._limit_s = limit_s
        self._message = message
        #: With the loop's time at which each is given up, the eldest first. Some may be done.
        self._watched: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[R]) -> asyncio.Future[R]:
        """The same future, which raises StoreUnavailable if it is not done in time."""
        self._forget_done()
        loop = future.get_loop()
        self._watched.append((future, loop.time() + self._limit_s))
        if self._timer is None:
            self._timer = loop.call_later(self._limit_s, self._look)
        return future

    def _forget_done(self) -> None:
        while self._watched and self._watched[0][0].done():
            self._watched.popleft()

    def _look(self) -> None:
        self._timer = None
        self._forget_done()
        while self._watched:
            future, due = self._watched[0]
            if due > future.get_loop().time():
                self._timer = future.get_loop().call_at(due, self._look)
                return
            future.set_exception(StoreUnavailable(self._message))
            self._forget_done()
