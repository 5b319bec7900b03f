"""Schedules: when to send what."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator

from benchmarks.load.driver import AT_ONCE, Call, Schedule


def closed(calls: Iterable[Call]) -> Schedule:
    """Each as soon as a connection is free."""
    return ((AT_ONCE, call) for call in calls)


def all_due_at_start(calls: Iterable[Call]) -> Schedule:
    """All at once: what waits for a connection, waits on the clock."""
    return ((0.0, call) for call in calls)


def at_rate(rate: float, seconds: float, call_of: Callable[[int], Call]) -> Schedule:
    """`rate` per second, evenly spread; `call_of(n)` makes the n-th when it can be sent."""
    return ((number / rate, call_of(number)) for number in range(int(rate * seconds)))


def periodic(members: int, period_s: float, seconds: float, call_of: Callable[[int], Call], seed: str) -> Schedule:
    """Each member once per period, at a time of its own within it; `call_of(member)` makes its call."""
    chance = random.Random(seed)
    phases = sorted((chance.random() * period_s, member) for member in range(members))
    for round_start_s in _starts(period_s, seconds):
        for phase_s, member in phases:
            due_s = round_start_s + phase_s
            if due_s >= seconds:
                return
            yield due_s, call_of(member)


def together(schedules: Iterable[Schedule]) -> Schedule:
    """Several open-loop schedules as one, in order of time."""
    return heapq.merge(*schedules, key=lambda entry: entry[0])


def _starts(period_s: float, seconds: float) -> Iterator[float]:
    start_s = 0.0
    while start_s < seconds:
        yield start_s
        start_s += period_s
