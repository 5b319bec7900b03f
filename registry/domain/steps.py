"""Steps: a large answer is made bit by bit, so that other requests get a turn in between."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

#: Makes one JSON text. Each step yields how many bytes it has added, 0 when none; the end returns the text in pieces,
#: because to put the pieces together is a step too, and copies all of them.
Steps = Generator[int, None, list[bytes]]
#: Rows of which one step is made, about a millisecond's work.
STEP_ROWS: Final = 200


def at_once(steps: Steps) -> bytes:
    """The whole text, all steps taken without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return b"".join(end.value)


def some_at_a_time(rows: Iterable[T]) -> Iterator[list[T]]:
    """The rows in lists of `STEP_ROWS`."""
    left = iter(rows)
    while some := list(islice(left, STEP_ROWS)):
        yield some
