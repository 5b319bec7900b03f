"""Schedules: everything is sent as often as it must be, in order of time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import schedules
from benchmarks.load.driver import Call


def call(number: int) -> Call:
    return Call(str(number), b"", lambda head, body: None)


@given(st.integers(1, 50), st.floats(0.5, 5), st.integers(1, 4))
def test_periodic_sends_every_member_once_per_period(members: int, period_s: float, periods: int) -> None:
    """A member that is skipped once would lose its lease, and the benchmark would blame the registry."""
    entries = list(schedules.periodic(members, period_s, period_s * periods, call, "seed"))
    for start in range(periods):
        within = [call.kind for due_s, call in entries if start * period_s <= due_s < (start + 1) * period_s]
        assert Counter(within) == Counter(str(member) for member in range(members))
    assert [due_s for due_s, _ in entries] == sorted(due_s for due_s, _ in entries)


@given(st.floats(1, 1000), st.floats(0.1, 3))
def test_rate_is_kept_over_the_whole_time(rate: float, seconds: float) -> None:
    due_s = [due_s for due_s, _ in schedules.at_rate(rate, seconds, call)]
    assert len(due_s) == int(rate * seconds)
    assert all(abs(due_s[n] - n / rate) < 1e-9 for n in range(len(due_s)))


def test_together_is_in_order_of_time_and_loses_nothing() -> None:
    first = schedules.at_rate(3, 2, call)
    second = schedules.periodic(5, 1, 2, call, "seed")
    entries = list(schedules.together([first, second]))
    assert len(entries) == 6 + 10
    assert [due_s for due_s, _ in entries] == sorted(due_s for due_s, _ in entries)
