"""Ticks: a request every 5 ms on connections of its own shows how long a server pauses under another load.

The latency of a tick, taken from the moment it was due, is at least what is left of the pause at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Final

import uvloop

from benchmarks.load.driver import Call, Driver, Schedule
from benchmarks.load.record import Record
from benchmarks.outcome import Number
from benchmarks.wire import Address

RATE: Final = 200.0
#: Ticks that can wait for an answer; in a longer pause than they cover, the next wait on the clock.
CONNECTIONS: Final = 8


class Ticks:
    """Ticks from `start` until every driver has ended."""

    def __init__(self, address: Address, call: Call) -> None:
        self._call = call
        self._over = False
        self._driver = Driver(address, CONNECTIONS, self._schedule())

    def _schedule(self) -> Schedule:
        for number in count():
            if self._over:
                return
            yield number / RATE, self._call

    async def beside(self, drivers: Sequence[Driver], start_s: float | None) -> tuple[list[Record], Record]:
        """Run drivers with ticks beside them; the records of the drivers, and that of the ticks."""
        ticking = asyncio.ensure_future(self._driver.run(start_s))
        try:
            records = await asyncio.gather(*(driver.run(start_s) for driver in drivers))
        finally:
            self._over = True
            ticks = await ticking
        return list(records), ticks


def drive_beside(
    address: Address, tick: Call, *drivers: Driver, start_s: float | None = None
) -> tuple[list[Record], Record]:
    """The same in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Ticks(address, tick).beside(drivers, start_s))


def pauses(ticks: Record, prefix: str = "") -> dict[str, Number]:
    """What the ticks have seen."""
    summary = ticks.summary()
    return {
        f"{prefix}longest pause": Number(summary.max_ms, "ms", "less"),
        f"{prefix}tick p99": Number(summary.p99_ms, "ms", "less"),
        f"{prefix}client late": Number(ticks.client_late_us / 1000, "ms", "less"),
        f"{prefix}client busy": Number(ticks.client_busy, "cores"),
    }
