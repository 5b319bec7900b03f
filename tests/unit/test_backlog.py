"""Backlog: what waits for slow watchers has one limit, and the one that has waited longest is let go."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.serving.backlog import PLACE_BYTES, Backlog


class Queue:
    """A watcher that reads when the test says so."""

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.frames: list[bytes] = []
        self.dropped = False

    def put(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.backlog.put(self, frame)

    def read(self) -> None:
        self.backlog.take(self, self.frames.pop(0))

    def drop(self) -> None:
        self.dropped = True
        while self.frames:
            self.read()


def size(queues: list[Queue]) -> int:
    """What the frames take: each once, and a place in each queue."""
    frames = {frame for queue in queues for frame in queue.frames}
    return sum(map(len, frames)) + PLACE_BYTES * sum(len(queue.frames) for queue in queues)


steps = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 5).map(lambda n: bytes([n]) * 100 * n))),
    max_size=60,
)


@given(steps, st.integers(0, 1500))
def test_what_waits_never_takes_more_and_who_has_waited_longest_goes(
    some: list[tuple[int, bytes | None]], most: int
) -> None:
    """Each step: a frame for one watcher, or one frame read. The naive order: since when each has had something."""
    backlog = Backlog(most)
    queues = [Queue(backlog) for _ in range(4)]
    since: dict[int, int] = {}
    for time, (number, frame) in enumerate(some):
        queue = queues[number]
        if queue.dropped:
            continue
        if frame is not None:
            since.setdefault(number, time)
            gone, left = [], [Queue(Backlog(10**9)) for _ in range(4)]
            for copy, original in zip(left, queues, strict=True):
                copy.frames = list(original.frames)
            left[number].frames.append(frame)
            while size(left) > most:
                eldest = min((n for n in since if left[n].frames), key=since.__getitem__)
                left[eldest].frames.clear()
                gone.append(eldest)
            before = [one.dropped for one in queues]
            queue.put(frame)
            assert [n for n in range(4) if queues[n].dropped and not before[n]] == sorted(gone)
        elif queue.frames:
            queue.read()
        since = {n: at for n, at in since.items() if queues[n].frames}
        assert backlog.size == size(queues) <= most
        assert len(backlog) == sum(bool(one.frames) for one in queues)


def test_many_that_are_let_go_are_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    """Two thousand at once are one fact."""
    caplog.set_level(logging.INFO)
    backlog = Backlog(1000)
    queues = [Queue(backlog) for _ in range(200)]
    for queue in queues:
        queue.put(b"x" * 500)
    assert backlog.let_go == sum(queue.dropped for queue in queues) > 150
    (line,) = caplog.records
    assert "those that have waited longest are let go" in line.getMessage()
    assert "REGISTRY_WATCH_MAX_BYTES" in line.getMessage()
    for queue in queues:
        queue.drop()
    assert backlog.size == 0
    assert "no watcher is slow any more" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2
