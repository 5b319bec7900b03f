"""Bursts: the log stays small, whatever makes the lines, and says what it does not say."""

from __future__ import annotations

import io
import logging
import time

import pytest

from registry.log_bursts import SAID_MAX, TENANTS_NAMED_MAX, Bursts
from tests.support.waiting import until_sync

WITHIN_S = 0.05


class Log:
    """A logger of its own whose lines are kept."""

    def __init__(self, within_s: float) -> None:
        self._stream = io.StringIO()
        self.handler = Bursts(self._stream, within_s)
        self._logger = logging.Logger("some.module")
        self._logger.addHandler(self.handler)

    def say(self, number: int, action: str = "thing_done", level: int = logging.INFO, **fields: str) -> None:
        for index in range(number):
            place = {"position": f"5-{index}"} if fields else {}
            self._logger.log(level, "%s %d", action, index, extra={"action": action, **place, **fields})

    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()


@pytest.fixture
def log() -> Log:
    """One whose burst ends when the test says so."""
    return Log(3600)


def test_few_lines_are_all_said(log: Log) -> None:
    log.say(SAID_MAX)
    log.handler.end_all()
    assert log.lines() == [f"thing_done {n}" for n in range(SAID_MAX)]


def test_of_many_the_first_are_said_and_the_rest_is_a_number(log: Log) -> None:
    """And how to see them."""
    log.say(150_000, tenant="shop/default")
    log.handler.end_all()
    *first, last = log.lines()
    assert first == [f"thing_done {n}" for n in range(SAID_MAX)]
    assert last == (
        f"{150_000 - SAID_MAX} more of these within 3600 s "
        f"({150_000 - SAID_MAX} of shop/default, positions 5-{SAID_MAX} to 5-149999); "
        "REGISTRY_LOG_LEVEL=debug says each"
    )


def test_each_kind_has_lines_of_its_own(log: Log) -> None:
    """A flood of one hides no other."""
    log.say(10 * SAID_MAX, "flood")
    log.say(1, "other")
    assert log.lines()[-1] == "other 0"


def test_what_has_no_action_is_known_by_its_logger(log: Log) -> None:
    """Lines of libraries are bounded too."""
    for _ in range(2):
        for n in range(SAID_MAX):
            log.handler.handle(logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, f"odd {n}", (), None))
    log.handler.end_all()
    assert len(log.lines()) == SAID_MAX + 1
    assert log.lines()[-1].startswith(f"{SAID_MAX} more of these")


def test_tenants_with_the_most_lines_are_named(log: Log) -> None:
    log.say(SAID_MAX)
    for number in range(TENANTS_NAMED_MAX + 2):
        log.say(number + 1, tenant=f"t{number}/default")
    log.handler.end_all()
    last = log.lines()[-1]
    assert last.index(" of t4/") < last.index(" of t3/") < last.index(" of t2/")
    assert "t1/" not in last


def test_the_number_has_the_highest_level_of_what_it_stands_for(log: Log) -> None:
    log.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.say(SAID_MAX + 1)
    log.say(1, level=logging.ERROR)
    log.say(1)
    log.handler.end_all()
    assert log.lines()[-1].startswith("ERROR 3 more")


def test_the_number_comes_by_itself_and_the_next_ones_are_said() -> None:
    """Also when nothing else is said meanwhile."""
    log = Log(WITHIN_S)
    log.say(SAID_MAX + 5)
    until_sync(lambda: len(log.lines()) == SAID_MAX + 1, "the number to be said")
    assert log.lines()[-1].startswith("5 more of these within 0.05 s;")
    log.say(1)
    assert log.lines()[-1] == "thing_done 0"


def test_lines_that_come_slowly_are_all_said() -> None:
    """What came long ago does not count."""
    log = Log(WITHIN_S)
    for number in range(1, 4):
        log.say(SAID_MAX)
        assert len(log.lines()) == number * SAID_MAX
        said_s = time.monotonic()
        until_sync(lambda: time.monotonic() > said_s + WITHIN_S, "the time to be over")  # noqa: B023
