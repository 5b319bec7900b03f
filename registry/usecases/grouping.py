"""Group: many callers' items handed over together, as few flushes as the waiting allows.

While a flush is under way items gather; what has gathered leaves with the next one. So concurrency raises the size of
a batch, not the number of round trips.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from registry.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
R_in = TypeVar("R_in", contravariant=True)


class Waiter(Protocol[R_in]):
    """Told of an item's result: a future, or something else with these methods."""

    def done(self) -> bool:
        """Nobody wants to be told any more."""

    def set_result(self, result: R_in, /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


class Budget:
    """Bytes that several groups may have waiting together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0

    def take(self, size: int) -> None:
        """Raises StoreUnavailable when there is no room for this many more bytes."""
        if self.used + size > self.most:
            raise StoreUnavailable(f"{self.used} bytes are waiting for the store already")
        self.used += size

    def give_back(self, size: int) -> None:
        self.used -= size


class Group(Generic[T, R]):
    """Batches items for `flush`, which returns one result per item in order, or raises for all of them.

    Args:
        batch_max: items per flush.
        flights_max: flushes under way at once.
        waiting_max: items that may wait; one more is refused with StoreUnavailable.
        weight_max: a flush takes no more items once their weights together reach the limit.
        budget: what all items may weigh together that wait or are in a flush, of this group and of others.
        idle: called when nothing waits and nothing is in a flush any more.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        batch_max: int,
        flights_max: int,
        waiting_max: int,
        weight_max: int = 1,
        budget: Budget | None = None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._budget = budget
        self._idle = idle
        self._weight_max = weight_max
        self._flush = flush
        self._batch_max = batch_max
        self._flights_max = flights_max
        self._waiting_max = waiting_max
        #: Each with its weight.
        self._waiting: deque[tuple[T, Waiter[R], int]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Nothing waits, and nothing is in a flush."""
        return not (self._waiting or self._flights or self._scheduled)

    def put(self, item: T, weight: int = 0) -> asyncio.Future[R]:
        """Hand over one item; the future brings its result."""
        future = self.waiter()
        self.put_for(item, future, weight)
        return future

    def waiter(self) -> asyncio.Future[R]:
        """One for `put_for`."""
        return self._running_loop().create_future()

    def put_for(self, item: T, waiter: Waiter[R], weight: int = 0) -> None:
        """Hand over one item; the waiter is told of its result, in the turn of the loop in which it is known."""
        if len(self._waiting) >= self._waiting_max:
            raise StoreUnavailable(f"{self._waiting_max} requests are waiting for the store already")
        if self._budget is not None:
            self._budget.take(weight)
        self._waiting.append((item, waiter, weight))
        if not self._scheduled and len(self._flights) < self._flights_max:
            # At the end of this turn of the loop, when every request that has arrived is in.
            self._scheduled = True
            self._running_loop().call_soon(self._depart)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            # Asked once: before Python 3.12 each question costs a system call.
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _depart(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._flights) < self._flights_max:
            batch: list[tuple[T, Waiter[R]]] = []
            weight = 0
            while self._waiting and len(batch) < self._batch_max and weight < self._weight_max:
                item, waiter, one = self._waiting.popleft()
                batch.append((item, waiter))
                weight += one
            task = self._running_loop().create_task(self._fly(batch, weight))
            self._flights.add(task)
            task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[None]) -> None:
        self._flights.discard(task)
        self._depart()
        if not self._flights and not self._waiting:
            self._idle()

    async def _fly(self, batch: list[tuple[T, Waiter[R]]], weight: int) -> None:
        try:
            try:
                results = await self._flush([item for item, _ in batch])
            finally:
                if self._budget is not None:
                    self._budget.give_back(weight)
        except BaseException as exc:
            _fail(batch, exc if isinstance(exc, Exception) else StoreUnavailable("stopping"))
            if not isinstance(exc, Exception):
                raise
            return
        for (_, waiter), result in zip(batch, results, strict=True):
            if not waiter.done():
                _tell(waiter.set_result, result)


def _fail(batch: list[tuple[T, Waiter[R]]], exception: Exception) -> None:
    """Tell all, and forget them: the exception holds the frame that has the batch."""
    for _, waiter in batch:
        if not waiter.done():
            _tell(waiter.set_exception, exception)
            if isinstance(waiter, asyncio.Future):
                waiter.exception()  # looked at: its caller may be gone
    batch.clear()


def _tell(tell: Callable[[T], None], what: T) -> None:
    """One that cannot be told must not keep the others from being told."""
    try:
        tell(what)
    except Exception:
        logger.exception("a waiter could not be told of its result", extra={"action": "waiter_failed"})
