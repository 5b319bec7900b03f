"""Recorded: what every event carries."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Recorded(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`replica` and `number` name the event: the replica that wrote it and a count within that replica's life."""

    #: The format of events since which this type exists. A new type takes the next number after `EVENT_FORMAT`.
    since: ClassVar[int] = 1

    #: Wall clock of the writing replica, Unix milliseconds.
    at_ms: int
    replica: str
    number: int
    #: Who asked: the client's address, behind its account where there are accounts; `registry` when a replica acted by
    #: itself.
    actor: str = ""
