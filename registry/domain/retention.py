"""Retention: when a snapshot of a log is due, which snapshots stay, and whether the log before them goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from registry.domain.marks import Mark
from registry.domain.position import Position

#: Instances of a snapshot that cost a start about as much as one event's entry.
INSTANCES_PER_EVENT: Final = 4
#: Snapshots that reach back as far as history is kept are spaced so that there are about this many.
HISTORY_STEPS: Final = 24
#: Events between two of them, at most: to tell what was at a moment, those since the snapshot before it are read.
EVENTS_APART_MAX: Final = 100_000
#: A snapshot is due after this fraction (one in …) of the bytes that a log may have.
BYTES_STEPS: Final = 4
#: How many of the newest snapshots stay, no matter how long the log is behind them: one that cannot be read is passed
#: over.
LEAST: Final = 2


class Log(NamedTuple):
    """Up to where a log goes, and in how many bytes the events of its present epoch are written."""

    position: Position
    bytes: int

    def events_since(self, mark: Mark | None) -> int:
        """Events since a snapshot (None: since the beginning), as far as this epoch tells."""
        return self.position.sequence - (mark.sequence if mark is not None and self._continues(mark) else 0)

    def bytes_since(self, mark: Mark | None) -> int:
        """The same in bytes. A mark that says more than the log knows was made where others were counted with it."""
        return max(self.bytes - (mark.log_bytes if mark is not None and self._continues(mark) else 0), 0)

    def _continues(self, mark: Mark) -> bool:
        return mark.epoch == self.position.epoch


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept, by count, by bytes and by age.

    `every_events`: a snapshot is due after this number, or more where instances are many. `snapshots`: how many of
    the newest stay. `history_ms`: beyond them, enough stay for the log to reach back this far (0: no further).
    `history_events`: the most events that log has. `log_bytes`: what the log of one tenant may have; a part
    of it makes a snapshot due, and what does not fit goes. The snapshots beyond the newest have no more bytes either.
    """

    every_events: int = 10_000
    snapshots: int = 2
    history_ms: int = 0
    log_bytes: int = 256 * 1024 * 1024
    history_events: int = 10_000_000

    def is_due(self, log: Log, newest: Mark | None, every_events: int, instances: int, held_bytes: int) -> bool:
        """Whether enough has come since the newest snapshot that another one should be written.

        Args:
            instances, held_bytes: what the snapshot would hold; it must not cost more than it saves.
        """
        events = log.events_since(newest)
        return events > 0 and (
            events >= max(every_events, instances // INSTANCES_PER_EVENT)
            or log.bytes_since(newest) >= max(self.log_bytes // BYTES_STEPS, held_bytes)
        )

    def keep(self, marks: Sequence[Mark], now_ms: int, log: Log) -> list[Mark]:
        """Those of the snapshots, newest first, that stay."""
        ordered = sorted(marks, key=lambda mark: mark.position, reverse=True)
        kept: list[Mark] = []
        for mark, older in zip(ordered, [*ordered[1:], None], strict=False):
            if len(kept) >= min(self.snapshots, LEAST) and self._is_too_long(log, mark):
                break
            if len(kept) < self.snapshots:
                kept.append(mark)
            elif self._reaches_back(kept, now_ms) or self._is_too_large([*kept, mark]):
                break
            elif older is None or self._are_apart(kept[-1], older) or mark.sequence == 1:
                kept.append(
                    mark
                )  # the first event of an epoch may be where the log was seeded: by this alone it goes on
        return kept

    def _is_too_long(self, log: Log, mark: Mark | None) -> bool:
        """Whether the log from there on (None: from its beginning) is longer than it may be."""
        return log.bytes_since(mark) > self.log_bytes or log.events_since(mark) > self.history_events

    def is_full(self, log: Log, marks: Sequence[Mark]) -> bool:
        """Whether the log has more bytes than it may, counted from the eldest snapshot, or from its beginning."""
        return log.bytes_since(min(marks, key=lambda mark: mark.position, default=None)) > self.log_bytes

    def _is_too_large(self, kept: Sequence[Mark]) -> bool:
        return sum(mark.size for mark in kept[self.snapshots :]) > self.log_bytes

    def _are_apart(self, newer: Mark, older: Mark) -> bool:
        """Whether one of those between them has to stay."""
        events = newer.sequence - older.sequence if newer.epoch == older.epoch else newer.sequence
        return newer.at_ms - older.at_ms > self.history_ms // HISTORY_STEPS or events > EVENTS_APART_MAX

    def trims(self, marks: Sequence[Mark], kept: Sequence[Mark], now_ms: int, log: Log) -> bool:
        """Whether the log before the eldest of the kept snapshots goes: it is long enough, or must be no longer."""
        if not kept:
            return False
        if any(mark.position < kept[-1].position for mark in marks):
            return True
        if len(kept) < self.snapshots:
            return len(kept) >= LEAST and self._is_too_long(log, None)
        return self._reaches_back(kept, now_ms) or self._is_too_long(log, None)

    def _reaches_back(self, kept: Sequence[Mark], now_ms: int) -> bool:
        return now_ms - kept[-1].at_ms >= self.history_ms
