"""Episode: said when it begins and when it ends, counted between, and never often."""

from __future__ import annotations

import logging

import pytest

from registry.episode import PATIENCE_MS, QUIET_MS, Actions, Episode
from tests.support.clock import ManualClock

logger = logging.getLogger(__name__)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def episode(clock: ManualClock) -> Episode:
    return Episode(logger, Actions("begun", "over"), steady_ms=clock)


def part_of(larger: Episode, clock: ManualClock) -> Episode:
    return Episode(logger, Actions("part_begun", "part_over"), larger, steady_ms=clock)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The action and the message of every line since this was asked last."""
    lines = [(record.__dict__["action"], record.getMessage()) for record in caplog.records]
    caplog.clear()
    return lines


def test_what_does_not_hold_is_not_said_to_be_over(episode: Episode, caplog: pytest.LogCaptureFixture) -> None:
    episode.ends("it is back")
    assert said(caplog) == []
    assert not episode.lasts


def test_it_is_said_when_it_begins_and_when_it_ends(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With how long it lasted and how often it was met, in the line and as fields."""
    for _ in range(111):
        episode.occurs("%s is away: %s", "Redis", "no answer", tenant="a/b")
        clock.advance(200)
    assert episode.lasts
    clock.advance(1_800)
    (record,) = caplog.records
    assert record.__dict__["tenant"] == "a/b"
    episode.ends("Redis is back")
    record = caplog.records[1]
    assert (record.__dict__["lasted_s"], record.__dict__["times"]) == (24.0, 111)
    assert said(caplog) == [
        ("begun", "Redis is away: no answer"),
        ("over", "Redis is back after 24 s; counted 111 times"),
    ]
    assert not episode.lasts


def test_it_may_have_begun_before_it_was_noticed(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    episode.occurs("away", since_ms=clock() - 6_000)
    clock.advance(500)
    episode.ends("back")
    assert said(caplog)[1] == ("over", "back after 6.5 s; counted once")


def test_each_occurrence_counts_for_as_many_as_it_says(episode: Episode, caplog: pytest.LogCaptureFixture) -> None:
    episode.occurs("remembered", times=40)
    episode.occurs("remembered", times=2)
    episode.ends("delivered")
    assert said(caplog)[1] == ("over", "delivered after 0.0 s; counted 42 times")


def test_one_that_comes_and_goes_is_not_said_each_time(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Two lines, then silence for a while; those that were not said are told of with the next one."""
    lines = []
    unsaid = QUIET_MS // 200 - 1
    for _ in range(unsaid + 2):
        episode.occurs("away")
        clock.advance(100)
        episode.ends("back")
        clock.advance(100)
        lines += said(caplog)
    assert lines == [
        ("begun", "away"),
        ("over", "back after 0.1 s; counted once"),
        ("over", f"back after 0.1 s; counted once ({unsaid} more since the last line about it, all short)"),
    ]


def test_one_that_begins_soon_after_another_and_lasts_is_said(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The silence is for those that pass."""
    episode.occurs("away")
    episode.ends("back")
    said(caplog)
    clock.advance(1_000)
    for _ in range(QUIET_MS // 1_000):
        assert said(caplog) == []
        episode.occurs("away")
        clock.advance(1_000)
    assert said(caplog) == [("begun", "away")]
    episode.ends("back")
    assert said(caplog) == [("over", f"back after {QUIET_MS / 1_000:.0f} s; counted {QUIET_MS // 1_000} times")]


def test_one_that_ends_before_it_could_be_said_is_said_then(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its only sign came within the silence, and yet it lasted."""
    episode.occurs("away")
    episode.ends("back")
    said(caplog)
    clock.advance(QUIET_MS - 1)
    episode.occurs("away")
    clock.advance(8_000)
    episode.ends("back")
    assert said(caplog) == [("over", "back after 8.0 s; counted once")]


def test_what_is_part_of_a_larger_fact_is_counted_there(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is one fact, however many things it stops."""
    part = part_of(episode, clock)
    episode.occurs("away")
    for _ in range(9):
        part.occurs("no snapshot")
        clock.advance(10_000)
    part.ends("snapshots again")
    episode.ends("back")
    assert said(caplog) == [("begun", "away"), ("over", "back after 90 s; counted 10 times")]


def test_a_part_of_a_part_is_counted_with_the_largest(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    middle = part_of(episode, clock)
    small = part_of(middle, clock)
    episode.occurs("away")
    assert middle.lasts
    small.occurs("no snapshot")
    episode.ends("back")
    assert said(caplog)[1] == ("over", "back after 0.0 s; counted 2 times")
    assert not small.lasts


def test_the_first_sign_of_a_larger_fact_waits_for_it(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks most often notices first; a moment later it is known what it was."""
    part = part_of(episode, clock)
    part.occurs("leases cannot be read")
    clock.advance(PATIENCE_MS - 1)
    part.occurs("leases cannot be read")
    episode.occurs("away")
    clock.advance(60_000)
    episode.ends("back")
    part.ends("leases are read again")
    assert [action for action, _ in said(caplog)] == ["begun", "over"]


def test_what_goes_on_after_the_larger_fact_is_one_of_its_own(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    part = part_of(episode, clock)
    part.occurs("no snapshot")
    episode.occurs("away")
    clock.advance(60_000)
    episode.ends("back")
    said(caplog)
    clock.advance(1)
    part.occurs("no snapshot")
    assert said(caplog) == []
    clock.advance(PATIENCE_MS)
    part.occurs("no snapshot")
    assert said(caplog) == [("part_begun", "no snapshot")]
    part.ends("snapshots again")
    assert said(caplog) == [("part_over", f"snapshots again after {PATIENCE_MS / 1000} s; counted 2 times")]


def test_a_part_that_fails_alone_is_said(
    episode: Episode, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    part = part_of(episode, clock)
    part.occurs("no snapshot")
    clock.advance(PATIENCE_MS)
    part.occurs("no snapshot")
    part.ends("snapshots again")
    assert said(caplog) == [
        ("part_begun", "no snapshot"),
        ("part_over", f"snapshots again after {PATIENCE_MS / 1000} s; counted 2 times"),
    ]
