"""Contents: which files of an archive tell what, which of them go, and of what a snapshot is wanted. Values only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from registry.archive.segment import Head
from registry.domain.marks import Mark
from registry.domain.position import Position

#: A snapshot is kept after this number of events, or as many bytes of them as it has itself: near enough to each
#: place, and never more than half of the archive.
EVENTS_APART: Final = 50_000


class File(NamedTuple):
    """`size`: of the file, bytes. `head_length`: where its blocks begin."""

    name: str
    size: int
    head_length: int
    head: Head


def in_order(files: Iterable[File], kind: str) -> list[File]:
    """Those of a kind as they follow each other. Of two that begin at the same place the longer one comes last."""
    return sorted((f for f in files if f.head.kind == kind), key=lambda file: (file.head.start, file.head.end))


class Contents:
    """What the files of one tenant's archive tell together."""

    def __init__(self, files: Sequence[File]) -> None:
        self.files = files
        self.segments = in_order(files, "events")
        self.snapshots = in_order(files, "snapshot")

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def end(self) -> Position | None:
        """Up to where it goes, if it holds any events."""
        return max((file.head.end for file in self.segments), default=None)

    @cached_property
    def chain(self) -> list[File]:
        """The newest segments that follow each other without a gap, the eldest first."""
        found: list[File] = []
        for file in sorted(self.segments, key=lambda file: (file.head.end, -file.head.events), reverse=True):
            if not found or file.head.start < found[-1].head.start <= file.head.end:
                found.append(file)
        return found[::-1]

    def parts(self) -> list[Contents]:
        """Each chain with the snapshots from which it can be followed, newest first: between two of them is a gap."""
        found: list[Contents] = []
        rest = self.segments
        while rest:
            chain = Contents(rest).chain
            start, end = chain[0].head.start, chain[-1].head.end
            found.append(Contents([*chain, *(file for file in self.snapshots if start <= file.head.end <= end)]))
            rest = [file for file in rest if file.head.end < start]
        return found

    def between(self, after: Position, until: Position) -> list[File]:
        """The segments of the chain with all events between two places; none if it does not hold all of them."""
        first = bisect_right(self._ends, after)
        files = self.chain[first : bisect_left(self._ends, until) + 1]
        return files if files and files[0].head.start <= after and until <= files[-1].head.end else []

    def begins(self) -> Position | None:
        """Behind which place the chain tells everything."""
        chain = self.chain
        return chain[0].head.start if chain else None

    @cached_property
    def _ends(self) -> list[Position]:
        return [file.head.end for file in self.chain]

    def with_next(self, position: Position) -> File | None:
        """The segment of the chain that holds the event behind a position; of one before all of it, the first."""
        index = bisect_right(self._ends, position)
        return self.chain[index] if index < len(self.chain) else None

    def marks(self) -> list[Mark]:
        """The snapshots from which the chain can be followed, newest first."""
        begins, end = self.begins(), self.end()
        marks = [file.head.mark for file in self.snapshots if file.head.mark is not None]
        if begins is None or end is None:
            return []
        return sorted((m for m in marks if begins <= m.position <= end), key=lambda m: m.position, reverse=True)

    def snapshot(self, position: Position) -> File | None:
        return next((file for file in self.snapshots if file.head.end == position), None)


def snapshots_wanted(contents: Contents, marks: Sequence[Mark], end: Position) -> list[Mark]:
    """Which of the store's snapshots, up to where the archive goes, it should have too."""
    wanted: list[Mark] = []
    newest = max((file.head.end for file in contents.snapshots), default=None)
    for mark in sorted(marks, key=lambda mark: mark.position):
        if mark.position > end or (newest is not None and mark.position <= newest):
            continue
        since = [file for file in contents.segments if newest is None or file.head.end > newest]
        before = [file for file in since if file.head.end <= mark.position]
        size = sum(file.size for file in before)
        # By places: a segment may end anywhere between two snapshots.
        events = mark.sequence - (newest.sequence if newest is not None and newest.epoch == mark.epoch else 0)
        if newest is None or events >= EVENTS_APART or size >= mark.size:
            wanted.append(mark)
            newest = mark.position
    return wanted


def outlived(contents: Contents, now_ms: int, kept_ms: int, max_bytes: int) -> list[File]:
    """The files that go: those before a snapshot from which on all that has to be kept is kept.

    Args:
        kept_ms: events are kept for this time, if the bytes allow; 0: for ever.
        max_bytes: of the whole archive of the tenant. The newest snapshot and what is behind it stay in any case.
    """
    going: list[File] = []
    size = contents.size
    for snapshot in contents.snapshots[1:]:
        place = snapshot.head.end
        before = [file for file in contents.files if file not in going and _is_before(file, place)]
        aged = kept_ms and all(now_ms - file.head.moment_ms > kept_ms for file in before if file.head.kind == "events")
        if not before or not (aged or size > max_bytes):
            continue
        going += before
        size -= sum(file.size for file in before)
    return going


def _is_before(file: File, place: Position) -> bool:
    return file.head.end < place
