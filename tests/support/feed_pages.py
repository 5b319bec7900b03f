"""What is read of the feed of events: an event's place and kind, a page, and places as text."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from tests.support.history import Position


class _Told(Struct):
    position: str
    kind: str


class _Page(Struct):
    events: list[Raw]
    next: str = ""
    position: str = ""


told = msgspec.json.Decoder(_Told).decode
page = msgspec.json.Decoder(_Page).decode


def place(text: str) -> Position:
    epoch, _, sequence = text.partition("-")
    return int(epoch), int(sequence)


def text_of(position: Position) -> str:
    return f"{position[0]}-{position[1]}"
