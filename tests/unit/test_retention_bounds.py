"""How far back history reaches: by age, by events and by bytes, each by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.retention import EVENTS_APART_MAX, Log, Retention

HOUR_MS: Final = 3_600_000
#: A snapshot after every 10,000 events, which take an hour and 1,000,000 bytes.
EVENTS: Final = 10_000
BYTES: Final = 1_000_000
NOW_MS: Final = 100 * HOUR_MS


def mark(hours_ago: int, size: int = 100) -> Mark:
    number = 100 - hours_ago
    at_ms = NOW_MS - hours_ago * HOUR_MS
    return Mark(1, 7, number * EVENTS, 1, size, b"", at_ms, "r", number * BYTES)


LOG: Final = Log(Position(7, 100 * EVENTS), 100 * BYTES)
MARKS: Final = [mark(hours_ago) for hours_ago in range(50)]


def reach(retention: Retention, marks: list[Mark] = MARKS) -> int:
    """How many hours the snapshots that stay reach back."""
    kept = retention.keep(marks, NOW_MS, LOG)
    return (NOW_MS - kept[-1].at_ms) // HOUR_MS


def test_history_reaches_back_as_far_as_its_age_and_no_further() -> None:
    for hours in (1, 3, 12, 30):
        assert reach(Retention(history_ms=hours * HOUR_MS, log_bytes=10**12)) == hours
    assert reach(Retention(history_ms=0, log_bytes=10**12)) == 1  # the two newest


def test_history_has_no_more_events_than_it_may() -> None:
    for events in (EVENTS, 3 * EVENTS, 7 * EVENTS + 1):
        retention = Retention(history_ms=40 * HOUR_MS, history_events=events, log_bytes=10**12)
        assert reach(retention) == max(events // EVENTS, 1)
        assert retention.trims(MARKS, retention.keep(MARKS, NOW_MS, LOG), NOW_MS, LOG)


def test_history_has_no_more_bytes_than_it_may() -> None:
    for size in (BYTES, 3 * BYTES, 7 * BYTES + 1):
        retention = Retention(history_ms=40 * HOUR_MS, log_bytes=size)
        assert reach(retention) == max(size // BYTES, 1)


def test_snapshots_of_history_have_no_more_bytes_than_the_log() -> None:
    large = [mark(hours_ago, 4 * BYTES) for hours_ago in range(50)]
    retention = Retention(history_ms=40 * HOUR_MS, log_bytes=20 * BYTES)
    kept = retention.keep(large, NOW_MS, LOG)
    assert sum(one.size for one in kept[retention.snapshots :]) <= retention.log_bytes
    assert len(kept) == retention.snapshots + 5


def test_the_smallest_bound_wins() -> None:
    wide = {"history_ms": 40 * HOUR_MS, "history_events": 40 * EVENTS, "log_bytes": 40 * BYTES}
    assert reach(Retention(**wide)) == 40
    for name, narrow in (("history_ms", 5 * HOUR_MS), ("history_events", 5 * EVENTS), ("log_bytes", 5 * BYTES)):
        assert reach(Retention(**{**wide, name: narrow})) == 5, name


def test_no_moment_of_history_is_far_from_a_snapshot() -> None:
    retention = Retention(history_ms=24 * 24 * HOUR_MS, log_bytes=10**12)
    kept = retention.keep([mark(hours_ago) for hours_ago in range(100)], NOW_MS, LOG)
    apart = [newer.sequence - older.sequence for newer, older in pairwise(kept)]
    assert max(apart) <= EVENTS_APART_MAX
    assert len(kept) < 30


def test_a_log_is_full_by_the_bytes_since_its_eldest_snapshot() -> None:
    retention = Retention(log_bytes=10 * BYTES)
    assert retention.is_full(LOG, MARKS[:12])
    assert not retention.is_full(LOG, MARKS[:11])
