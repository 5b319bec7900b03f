"""Moments: what a client may say for a time - a moment, or a place in the log."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from msgspec import Struct

from registry.domain.errors import InvalidParams
from registry.domain.position import Position, parse_position

#: Unix milliseconds up to here, some time in the year 5138, are read.
MS_MAX: Final = 10**14
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FORMS: Final = "RFC 3339 (2026-11-29T14:03:07.250Z), Unix milliseconds, or a position (epoch-sequence)"


class When(Struct, frozen=True):
    """A time: up to a moment (Unix ms), and up to a place in the log. None: no limit."""

    moment_ms: int | None = None
    position: Position | None = None

    def reaches(self, position: Position, moment_ms: int) -> bool:
        """Whether an event is at or before it. `moment_ms`: what the log has reached with the event."""
        if self.position is not None and position > self.position:
            return False
        return self.moment_ms is None or moment_ms <= self.moment_ms

    def up_to(self, position: Position) -> When:
        """This time, but not beyond that place."""
        return When(self.moment_ms, position if self.position is None else min(self.position, position))

    def before(self) -> When:
        """The last time before it."""
        position = self.position
        if position is None:
            return When(self.moment_ms - 1 if self.moment_ms is not None else None)
        if position.sequence:
            return When(position=Position(position.epoch, position.sequence - 1))
        return When(position=Position(max(position.epoch - 1, 0), 0))


#: The end of the log, wherever that is.
END: Final = When()


def parse_when(text: str, name: str) -> When:
    """Read a time. Raises InvalidParams, which names the parameter."""
    if text.isascii() and text.isdigit() and len(text) <= 15 and int(text) <= MS_MAX:
        return When(int(text))
    if _RFC_3339.fullmatch(text):
        try:
            return When(_milliseconds(text))
        except ValueError:
            pass  # such a month, day or hour there is not
    try:
        return When(position=parse_position(text))
    except ValueError:
        raise InvalidParams(f"{text[:64]!r} is no time: {_FORMS} - at query parameter `{name}`") from None


def _milliseconds(text: str) -> int:
    """To the millisecond in which it lies."""
    whole = datetime.fromisoformat(re.sub(r"\.\d+", "", text.upper()))
    fraction = re.search(r"\.(\d+)", text)
    ms = int(fraction[1][:3].ljust(3, "0")) if fraction else 0
    return round(whole.timestamp()) * 1000 + ms
