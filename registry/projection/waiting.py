"""Waiting: for a position to be applied, for what own events come to, and for a catch-up that others may share."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count

from registry.domain.events import Event
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import Tenant

_Waiter = tuple[Position, int, "asyncio.Future[None]"]


class Waiters:
    """Those who wait for a position of a tenant."""

    def __init__(self) -> None:
        self._waiters: dict[Tenant, list[_Waiter]] = {}
        self._tickets = count()

    async def wait(self, tenant: Tenant, position: Position, timeout_s: float) -> bool:
        """Wait until `wake` is called with this position or a later one. False when that took too long."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (position, next(self._tickets), future)
        heapq.heappush(self._waiters.setdefault(tenant, []), waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._forget(tenant, waiter)
        return True

    def _forget(self, tenant: Tenant, waiter: _Waiter) -> None:
        waiters = self._waiters.get(tenant, [])
        if waiter in waiters:
            waiters.remove(waiter)
            heapq.heapify(waiters)
        if not waiters:
            self._waiters.pop(tenant, None)

    def wake(self, tenant: Tenant, position: Position) -> None:
        waiters = self._waiters.get(tenant)
        while waiters and waiters[0][0] <= position:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)


class OwnOutcomes:
    """What applying this replica's own events comes to, for those who wait for it."""

    def __init__(self) -> None:
        #: By the number of the event.
        self._expected: dict[int, asyncio.Future[Outcome]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def expect(self, number: int) -> asyncio.Future[Outcome]:
        """A future of what applying the event of that number will come to."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future = self._expected[number] = self._loop.create_future()
        return future

    def forget(self, number: int) -> None:
        """Nobody waits for that event any more."""
        self._expected.pop(number, None)

    def settle(self, event: Event, outcome: Outcome) -> None:
        """An own event has been applied."""
        waiting = self._expected.pop(event.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)


class CatchUps:
    """One catch-up per tenant at a time. Those who come while one is under way share the next.

    Args:
        catch_up: brings a tenant's view to the tail that the log has when it is called.
    """

    def __init__(self, catch_up: Callable[[Tenant], Awaitable[None]]) -> None:
        self._catch_up = catch_up
        #: Who waits for the next one.
        self._waiting: dict[Tenant, list[asyncio.Future[None]]] = {}
        self._running: dict[Tenant, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def join(self, tenant: Tenant) -> asyncio.Future[None]:
        """The end of a catch-up that begins after this call, with what it raises. Others do not notice a cancel."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(tenant, []).append(waiter)
        if tenant not in self._running:
            self._running[tenant] = self._loop.create_task(self._run(tenant))
        return waiter

    async def _run(self, tenant: Tenant) -> None:
        """Catch up until nobody waits for it."""
        try:
            while waiters := self._waiting.pop(tenant, []):
                await self._serve(tenant, waiters)
        finally:
            del self._running[tenant]

    async def _serve(self, tenant: Tenant, waiters: list[asyncio.Future[None]]) -> None:
        try:
            await self._catch_up(tenant)
        except Exception as error:
            _fail(waiters, error)
        else:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


def _fail(waiters: list[asyncio.Future[None]], error: Exception) -> None:
    """Tell all, and forget them: the error holds the frame that has the list."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
    waiters.clear()
