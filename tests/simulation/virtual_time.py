"""VirtualLoop: an event loop whose time jumps to the next timer as soon as nothing is ready.

A minute of sleeping takes as long as what happens in it. Callbacks of equal time run in the order in which they were
scheduled, so a run depends on nothing but what its code does.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final, TypeVarTuple

from tests.simulation.process import OWNER, Process

#: For how long a thread works, virtual seconds.
THREAD_S: Final = 0.002
#: Where virtual time begins: Unix seconds and seconds of the steady clock are the same here.
BEGIN_S = 1_700_000_000.0


Ts = TypeVarTuple("Ts")


class Deadlock(Exception):
    """Nothing is ready and nothing is scheduled: the run would wait for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks without files, threads or real time, and asks each callback's process whether it may run."""

    def __init__(self) -> None:
        super().__init__()
        self._now = BEGIN_S
        self._soon: deque[tuple[asyncio.Handle, Process | None]] = deque()
        self._timers: list[tuple[float, int, asyncio.Handle, Process | None]] = []
        self._numbers = count()
        self._held: dict[asyncio.Task[Any], None] = {}
        self.callbacks = 0

    def time(self) -> float:
        return self._now

    def now_ms(self) -> int:
        return int(self._now * 1000)

    def call_soon(  # type: ignore[override]  # the base is generic over the arguments
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context  # an empty one is false
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append((handle, context.get(OWNER)))
        return handle

    def call_at(  # type: ignore[override]  # the base is generic over the arguments
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        context = contextvars.copy_context() if context is None else context  # an empty one is false
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle, context.get(OWNER)))
        return handle

    def call_later(  # type: ignore[override]  # the base is generic over the arguments
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]  # the base is generic over the arguments
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Only Python asks for it, to end a generator of a dead process, of which nothing runs any more."""
        assert callback == self.create_task, "no threads in a simulation"
        args[0].close()
        return asyncio.Handle(callback, args, self, context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], Any], *args: *Ts) -> asyncio.Future[Any]:
        """A thread's work is done at one instant, a little later, if the process that asked for it may run then."""
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:
                outcome = partial(future.set_exception, error)
            else:
                outcome = partial(future.set_result, result)
            if not future.done():
                outcome()

        self.call_later(THREAD_S, work)
        return future

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _again(self, handle: asyncio.Handle, process: Process) -> None:
        self._soon.append((handle, process))

    def keep(self) -> None:
        """Hold every task that has not ended. Those of a dead process never will; Python must not find that odd."""
        self._held.update(dict.fromkeys(asyncio.all_tasks(self)))

    def bury(self) -> None:
        """After the run: end what has not ended."""
        self.keep()
        for task in self._held:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # it ends here
                # Whatever it does on its way out is done to nobody.
                with contextlib.suppress(Exception):
                    task.get_coro().close()
        self._held.clear()

    def _run_once(self) -> None:
        """Run what is ready, or let time jump to the next timer."""
        soon = self._soon
        if not soon:
            self._jump()
        for _ in range(len(soon)):
            handle, process = soon.popleft()
            if handle._cancelled or (process is not None and not process.takes(handle, self._again)):
                continue
            self.callbacks += 1
            handle._run()

    def _jump(self) -> None:
        timers = self._timers
        while timers and not self._soon:
            when = timers[0][0]
            self._now = max(self._now, when)
            while timers and timers[0][0] <= when:
                _, _, handle, process = heapq.heappop(timers)
                if not handle._cancelled:
                    self._soon.append((handle, process))
        if not self._soon:
            raise Deadlock("nothing is ready and nothing is scheduled")
