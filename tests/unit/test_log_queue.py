"""LogQueue: who writes never waits, what is written comes out whole and in order, and what is lost is told."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from registry.log_queue import BYTES_MAX, LINES_MAX, LogQueue
from tests.support.waiting import until_sync

#: More than any write may take that waits for nobody, and less than one that waits for a reader (seconds).
AT_ONCE_S = 5.0
FLUSH_S = 0.05


class Pipe:
    """A pipe whose reading end the test holds, with a queue at the other."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.queue = LogQueue(self.writing, "{} lost".format)
        self._reader = os.fdopen(os.dup(self.reading), encoding="utf-8")

    def say(self, *lines: str) -> None:
        for line in lines:
            print(line, file=self.queue)

    def fill(self) -> None:
        """Leave no room in the pipe."""
        os.set_blocking(self.writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writing, b"x" * 4095 + b"\n")
        os.set_blocking(self.writing, True)

    def read(self, lines: int) -> list[str]:
        """The next lines, without those that filled the pipe."""
        found: list[str] = []
        while len(found) < lines:
            line = self._reader.readline().removesuffix("\n")
            if "xxx" not in line:
                found.append(line)
        return found

    def close(self) -> None:
        self.hang_up()
        self.queue.drain(AT_ONCE_S)
        os.close(self.writing)

    def hang_up(self) -> None:
        if not self._reader.closed:
            self._reader.close()
            os.close(self.reading)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_come_out_as_they_were_written(pipe: Pipe) -> None:
    """Whole, in order; also one that is written in pieces, and what UTF-8 has no bytes for."""
    pipe.say("one")
    for piece in ("tw", "o", "\nthr", "ee\nfo", "ur\n"):
        pipe.queue.write(piece)
    pipe.say("fünf \udc80")
    assert pipe.read(5) == ["one", "two", "three", "four", "fünf \\udc80"]
    assert pipe.queue.dropped == 0


def test_lines_of_several_threads_are_not_mixed(pipe: Pipe) -> None:
    pipe.queue.write("begun ")
    other = threading.Thread(target=pipe.say, args=("between",))
    other.start()
    other.join()
    pipe.queue.write("and ended\n")
    assert pipe.read(2) == ["between", "begun and ended"]


def test_who_writes_does_not_wait_for_a_reader(pipe: Pipe) -> None:
    """Nothing is read; still every line is taken until the queue is full, and the rest is counted."""
    pipe.fill()
    began = time.monotonic()
    pipe.say(*map(str, range(LINES_MAX + 10)))
    assert time.monotonic() - began < AT_ONCE_S
    assert pipe.queue.dropped == 10


def test_what_was_dropped_is_told_where_it_is_missing(pipe: Pipe) -> None:
    """When the queue is half empty again: a gap is one gap, and lines after it are taken again."""
    pipe.fill()
    pipe.say(*map(str, range(LINES_MAX + 10)))
    assert pipe.read(LINES_MAX + 1) == [*map(str, range(LINES_MAX)), "10 lost"]
    pipe.say("after it")
    assert pipe.read(1) == ["after it"]
    assert pipe.queue.dropped == 10


def test_a_full_queue_takes_nothing_until_it_is_half_empty(pipe: Pipe) -> None:
    """A reader that is a little too slow would else be told of a gap after each line."""
    lines = [f"{number:0200}" for number in range(LINES_MAX + 1)]
    pipe.fill()
    pipe.say(*lines)
    until_sync(lambda: b"0" in os.read(pipe.reading, 4096), "some of the lines to be read")
    pipe.say("too early")
    assert pipe.queue.dropped == 2
    rest = pipe.read(1)
    while rest[-1] != "2 lost":
        rest += pipe.read(1)
    assert rest[-2] == lines[LINES_MAX - 1]


def test_large_lines_are_bounded_by_their_bytes(pipe: Pipe) -> None:
    """A few tracebacks of a megabyte are as bad as many lines."""
    pipe.fill()
    large = "y" * (BYTES_MAX // 4)
    pipe.say(*[large] * 10)
    assert pipe.queue.dropped == 7


def test_a_line_that_never_fits_is_dropped_alone(pipe: Pipe) -> None:
    pipe.say("y" * BYTES_MAX, "next")
    assert pipe.read(2) == ["next", "1 lost"]


def test_a_stop_waits_for_the_last_lines_but_not_for_ever(pipe: Pipe) -> None:
    """Also for one that has no end yet; a reader that does not read does not hold it up."""
    pipe.queue.write("the last\nwords")
    assert pipe.queue.drain(AT_ONCE_S)
    assert os.read(pipe.reading, 100) == b"the last\nwords"
    pipe.fill()
    pipe.say("unread")
    began = time.monotonic()
    assert not pipe.queue.drain(FLUSH_S)
    assert FLUSH_S <= time.monotonic() - began < AT_ONCE_S


def test_a_descriptor_that_somebody_else_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    """Terminals and pipes are shared, and so is this property of theirs."""
    pipe.fill()
    os.set_blocking(pipe.writing, False)
    pipe.say("patience")
    assert not pipe.queue.drain(FLUSH_S)
    assert pipe.read(1) == ["patience"]
    assert pipe.queue.dropped == 0


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    """Each is counted, and the thread goes on: a full disk may have room again."""
    pipe.hang_up()
    pipe.say("one", "two")
    assert pipe.queue.drain(AT_ONCE_S)
    assert pipe.queue.dropped == 2
