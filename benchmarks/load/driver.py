"""Driver: sends a schedule of calls over many connections and records every answer.

An open loop takes each call's latency from the moment it was due, however late a connection was free for it. A closed
loop (calls that are due `AT_ONCE`) takes it from the moment it was sent.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import uvloop

from benchmarks.errors import BenchmarkError
from benchmarks.latency import microseconds
from benchmarks.load.connection import Connection
from benchmarks.load.record import Record
from benchmarks.load.ticker import ticking
from benchmarks.wire import Address

#: Due time of a call that is sent as soon as a connection is free.
AT_ONCE: Final = -math.inf
TICK_US: Final = 250
#: Seconds after which a request without an answer gets none.
REPLY_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 20.0
#: Connections opened at the same time: more would overflow a server's backlog, and each retry costs a second.
CONNECTS_AT_ONCE: Final = 100
_SHOWN_BYTES: Final = 160

#: Given head and body, says what is wrong with an answer whose status is right.
Check = Callable[[bytes, bytes], str | None]


class Call(NamedTuple):
    """One request to send, and what must come back."""

    kind: str
    data: bytes
    check: Check
    status: int = 200


Schedule = Iterator[tuple[float, Call]]


class Driver:
    """One load from one event loop.

    Args:
        schedule: pairs of due time (seconds from the start, ascending, or `AT_ONCE`) and call; asked for the next one
            only when it can be sent, so it may look at what came back meanwhile.
        connections: as many requests can be under way.
        on_second: called about once a second with the record.
        on_answer: called with the number of good answers after each of them.
    """

    def __init__(
        self,
        address: Address,
        connections: int,
        schedule: Schedule,
        on_second: Callable[[Record], None] | None = None,
        on_answer: Callable[[int], None] | None = None,
    ) -> None:
        self._address = address
        self._wanted = connections
        self._schedule = schedule
        self._on_second = on_second
        self.on_answer = on_answer
        self.record = Record()
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._next: tuple[float, Call] | None = None
        self._busy = 0
        self._good = 0
        self._start_s = self._last_tick_s = self._last_second_s = 0.0
        self._running = False
        self._over: asyncio.Future[None] | None = None
        self._redials: set[asyncio.Task[None]] = set()

    async def run(self, start_s: float | None = None) -> Record:
        """Connect, send everything, and wait for the last answer.

        Args:
            start_s: the `time.monotonic()` from which due times count; now, if None or past.
        """
        await self._connect_all()
        self._over = asyncio.get_running_loop().create_future()
        self._start_s = self._last_tick_s = self._last_second_s = max(start_s or 0.0, time.monotonic())
        self._running = True
        used_s = time.process_time()
        self._advance()
        gc.disable()  # A collection would hold up every request that is due meanwhile.
        try:
            with ticking(TICK_US, self._tick):
                await self._over
        finally:
            gc.enable()
            self.record.client_busy = (time.process_time() - used_s) / max(self.record.elapsed_s, 1e-9)
            await self._close_all()
        return self.record

    # -- sending -------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        try:
            self._look(time.monotonic())
        except Exception as exc:  # The event loop would only print it and go on.
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_exception(exc)

    def _look(self, now_s: float) -> None:
        late_s = now_s - self._last_tick_s - TICK_US / 1e6
        self._last_tick_s = now_s
        if now_s > self._start_s:
            self.record.client_late_us = max(self.record.client_late_us, int(late_s * 1e6))
        self._pump(now_s)
        if now_s - self._last_second_s >= 1:
            self._last_second_s = now_s
            self._give_up_on_silent(now_s)
            if self._on_second is not None:
                self._on_second(self.record)

    def _pump(self, now_s: float) -> None:
        """Send what is due, as long as a connection is free."""
        elapsed_s = now_s - self._start_s
        while self._next is not None and self._idle and self._next[0] <= elapsed_s and elapsed_s >= 0:
            due_s, call = self._next
            # The longest idle first: all connections are used, and with them all workers behind them.
            connection = self._idle.popleft()
            connection.call = call
            connection.sent_s = now_s
            connection.counted_from_s = now_s if due_s == AT_ONCE else self._start_s + due_s
            self._busy += 1
            connection.send(call.data)
            self._advance()
        if self._next is None and not self._busy and self._over is not None and not self._over.done():
            self.record.elapsed_s = now_s - self._start_s
            self._over.set_result(None)

    def _advance(self) -> None:
        self._next = next(self._schedule, None)

    # -- what comes back -----------------------------------------------------------------------------------------------

    def answered(self, connection: Connection, status: int, head: bytes, body: bytes) -> None:
        try:
            self._take(connection, status, head, body, time.monotonic())
        except Exception as exc:
            self._fail(exc)

    def _take(self, connection: Connection, status: int, head: bytes, body: bytes, now_s: float) -> None:
        call: Call | None = connection.call
        if call is None:
            self.record.fail("", "unasked answer", f"an answer with status {status} that nobody asked for")
            return
        connection.call = None
        self._busy -= 1
        if status != call.status:
            self.record.fail(call.kind, str(status), self._described(call, status, body, f"expected {call.status}"))
        elif problem := call.check(head, body):
            self.record.fail(call.kind, "wrong answer", self._described(call, status, body, problem))
        else:
            counted_from_s = connection.counted_from_s
            self.record.add(call.kind, counted_from_s - self._start_s, microseconds(now_s - counted_from_s))
            self._good += 1
            if self.on_answer is not None:
                self.on_answer(self._good)
        self._idle.append(connection)
        self._pump(now_s)

    def lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if not self._running:
            return
        if connection.call is not None:
            call: Call = connection.call
            self._busy -= 1
            self.record.fail(call.kind, "no answer", f"{_request_line(call)} got no answer on its connection")
        elif connection in self._idle:
            self._idle.remove(connection)
        redial = asyncio.ensure_future(self._redial())
        self._redials.add(redial)
        redial.add_done_callback(self._redials.discard)

    def _described(self, call: Call, status: int, body: bytes, problem: str) -> str:
        shown = body[:_SHOWN_BYTES].decode(errors="replace")
        return f"{_request_line(call)} was answered wrongly: {problem} (status {status}, {shown!r})"

    def _give_up_on_silent(self, now_s: float) -> None:
        for connection in list(self._all):
            if connection.call is not None and now_s - connection.sent_s > REPLY_TIMEOUT_S:
                connection.close()

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _connect_all(self) -> None:
        left = self._wanted
        while left > 0:
            count = min(left, CONNECTS_AT_ONCE)
            await asyncio.gather(*(self._dial() for _ in range(count)))
            left -= count

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), self._address.host, self._address.port
                )
        except (OSError, TimeoutError) as exc:
            raise BenchmarkError(f"{self._address.url} could not be connected to: {exc!r}.") from exc
        self._all.add(connection)
        self._idle.append(connection)

    async def _redial(self) -> None:
        """Open a connection again; when that fails, the load goes on with those that are left."""
        try:
            await self._dial()
        except BenchmarkError as exc:
            self.record.fail("connection", "refused", str(exc))
            if not self._all:
                self._fail(exc)
            return
        self._pump(time.monotonic())

    async def _close_all(self) -> None:
        self._running = False
        for connection in list(self._all):
            connection.close()
        for redial in list(self._redials):
            redial.cancel()
        await asyncio.gather(*self._redials, return_exceptions=True)
        await asyncio.sleep(0)


def drive(driver: Driver) -> Record:
    """Run one driver in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(driver.run())


def _request_line(call: Call) -> str:
    return call.data[: call.data.index(b" HTTP/1.1\r\n")].decode(errors="replace")
