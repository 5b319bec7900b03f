"""Process: one life of one replica. Everything that runs for it can be stopped for a while, or for ever, between two
callbacks, as SIGSTOP and SIGKILL do: no `finally` of a killed process runs.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

#: The process for which the current callback runs; None for clients, network and store.
OWNER: contextvars.ContextVar[Process | None] = contextvars.ContextVar("OWNER", default=None)


class ConnectionLost(Exception):
    """The replica died before it answered."""


class Process:
    """What a callback's context names as its owner. The loop asks it before running the callback."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.alive = True
        self.stalled = False
        self._loop = loop
        self._backlog: list[asyncio.Handle] = []
        self._resume: Callable[[asyncio.Handle, Process], None] | None = None
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self)
        #: Requests under way; the loop itself holds tasks by weak references only.
        self._handling: set[asyncio.Task[None]] = set()
        #: Clients that wait for an answer, eldest first.
        self._asked: dict[asyncio.Future[Any], None] = {}

    def takes(self, handle: asyncio.Handle, later: Callable[[asyncio.Handle, Process], None]) -> bool:
        """Whether the callback may run now. Of a stalled process it is kept, of a dead one dropped."""
        if not self.alive:
            return False
        if self.stalled:
            self._backlog.append(handle)
            self._resume = later
            return False
        return True

    def stall(self) -> None:
        self.stalled = True

    def resume(self) -> None:
        """Go on where it stopped: what has come meanwhile runs in the order in which it came."""
        self.stalled = False
        backlog, self._backlog = self._backlog, []
        for handle in backlog:
            if self._resume is not None:
                self._resume(handle, self)

    def kill(self) -> None:
        self.alive = False
        self._backlog.clear()
        asked, self._asked = self._asked, {}
        for answer in asked:
            if not answer.done():
                answer.set_exception(ConnectionLost(self.name))

    def start(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Run this as part of the process."""
        return self._loop.create_task(work, context=self._context)

    async def ask(self, work: Callable[[], Awaitable[R]]) -> R:
        """Send a request and wait for its answer. A caller that gives up waiting leaves the request running.

        Raises:
            ConnectionLost: the process is dead, or dies before it has answered.
        """
        if not self.alive:
            raise ConnectionLost(self.name)
        answer: asyncio.Future[R] = self._loop.create_future()
        self._asked[answer] = None

        async def handle() -> None:
            try:
                result = await work()
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        task = self._loop.create_task(handle(), context=self._context)
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        try:
            return await answer
        finally:
            self._asked.pop(answer, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # looked at: the client may have given up at the same moment
