"""Memory: glibc is told how to hand out large pieces."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from registry.running import memory
from registry.running.memory import (
    LEFT_LEAST,
    Departures,
    give_back_after_departures,
    give_back_free_pages,
    give_back_large_pieces,
)


def test_glibc_takes_the_setting() -> None:
    """That it keeps a replica small is seen by fuzzing (tests/fuzz)."""
    assert give_back_large_pieces() is (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize(
    ("before", "after", "many"),
    [
        (20_000, 10_000, True),
        (LEFT_LEAST, 1, False),
        (100_000, 75_001, False),
        (100_000, 75_000, True),
    ],
)
def test_memory_is_given_back_when_a_quarter_and_a_thousand_have_left(before: int, after: int, many: bool) -> None:
    departures = Departures()
    assert not departures.are_many(before)
    assert departures.are_many(after) is many
    assert not departures.are_many(after)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_free_pages_between_those_in_use_are_given_back() -> None:
    kept = [bytes(5000) for _ in range(20_000)]
    full = resident_kb()
    del kept[1::2], kept[1::2]
    assert give_back_free_pages()
    assert full - resident_kb() > 30_000
    assert len(kept) == 5_000


def resident_kb() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


class Over(Exception):
    """There are no more looks."""


async def test_what_stays_is_made_anew_once_and_only_when_no_more_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """While they still leave it would have to be done again."""
    monkeypatch.setattr(memory, "LOOK_EVERY_S", 0.0)
    looks = iter([100_000, 60_000, 30_000, 29_900, 29_900, 29_900])
    seen, made = list[int](), list[int]()

    def count() -> int:
        number = next(looks, None)
        if number is None:
            raise Over
        seen.append(number)
        return number

    async def gather() -> None:
        made.append(len(seen))

    with pytest.raises(Over):
        await give_back_after_departures(count, gather)
    assert made == [4]
