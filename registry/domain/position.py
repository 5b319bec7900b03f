"""Position: where an event stands in its tenant's log."""

from __future__ import annotations

from msgspec import Struct


class Position(Struct, frozen=True, order=True, gc=False):
    """The place of one event in one tenant's log, totally ordered.

    `epoch` is the history: the Redis time (ms) at which it began. `sequence` counts the events of that history from
    1 without gaps, so that a reader can tell "nothing new" from "something missing". A log that begins anew does so
    under a later epoch; one that lost its tail goes on under its own, which the replicas notice (decisions/0001).
    """

    epoch: int
    sequence: int

    def text(self) -> str:
        """Write the position as Redis does a stream id, `epoch-sequence`."""
        return f"{self.epoch}-{self.sequence}"

    def next(self) -> Position:
        """The position directly after this one in the same history."""
        return Position(self.epoch, self.sequence + 1)

    def before(self) -> Position:
        """The position directly before this one in the same history, or where that begins."""
        return Position(self.epoch, max(self.sequence - 1, 0))


#: Before the first event of any history.
ORIGIN = Position(0, 0)


def parse_position(text: str | bytes) -> Position:
    """Read `epoch-sequence`.

    Raises:
        ValueError: the text is not two unsigned decimal numbers joined by one hyphen, each below 2**64.
    """
    if isinstance(text, bytes):
        text = text.decode("ascii")
    epoch, hyphen, sequence = text.partition("-")
    if not (hyphen and text.isascii() and epoch.isdigit() and sequence.isdigit() and len(text) <= 41):
        raise ValueError(f"not a log position: {text[:64]!r}")
    position = Position(int(epoch), int(sequence))
    if position.epoch >= 1 << 64 or position.sequence >= 1 << 64:
        raise ValueError(f"log position out of range: {text!r}")
    return position
