"""Percentiles: what the tables say of latencies must be what the latencies say."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import latency

LATENCIES = st.lists(st.integers(0, latency.MAX_US), min_size=1, max_size=300)


def naive_percentile(values: list[int], percent: Fraction) -> int:
    """The definition, word by word."""
    return min(v for v in values if Fraction(sum(w <= v for w in values), len(values)) * 100 >= percent)


@given(LATENCIES, st.sampled_from(["50", "90", "99", "99.9", "100"]) | st.integers(1, 100).map(str))
def test_percentile_is_the_smallest_value_that_enough_are_not_above(values: list[int], percent: str) -> None:
    """99.9 must be exact: a float that lies a hair above would name the next slower request."""
    expected = naive_percentile(values, Fraction(percent))
    assert latency.percentile(sorted(values), float(percent)) == expected


def test_percentile_of_exact_ranks() -> None:
    """Where the rank is whole, it is that value and not the next."""
    values = range(1, 1001)
    assert [latency.percentile(values, p) for p in (0.1, 7, 50, 99, 99.9, 100)] == [1, 70, 500, 990, 999, 1000]


def test_percentile_of_nothing_is_zero() -> None:
    """A scene may have no good answer at all."""
    assert latency.summarise([]) == latency.Summary(0, 0, 0, 0, 0)


@given(LATENCIES)
def test_summary_does_not_depend_on_the_order_of_arrival(values: list[int]) -> None:
    summary = latency.summarise(values)
    assert summary == latency.summarise(sorted(values, reverse=True))
    assert summary.count == len(values)
    assert summary.p50_ms <= summary.p99_ms <= summary.p999_ms <= summary.max_ms == max(values) / 1000


@given(st.floats(-10, 10_000, allow_nan=False))
def test_microseconds_always_fit_where_they_are_kept(seconds: float) -> None:
    """A clock step or an hour of silence must not end a run."""
    kept = latency.new()
    kept.append(latency.microseconds(seconds))
    assert kept[0] == min(max(int(seconds * 1e6), 0), latency.MAX_US)
