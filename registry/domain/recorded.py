"""Recorded: what every event carries."""

from __future__ import annotations

from typing import ClassVar, Final

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
    #: What the request is called (`X-Request-Id`), and the client (`User-Agent`, cut short).
    request_id: str = ""
    user_agent: str = ""


#: Characters that these may have.
REQUEST_ID_MAX: Final = 128
USER_AGENT_MAX: Final = 64


class Asker(str):
    """Who asks, as text (`Recorded.actor`), with what is recorded beside it."""

    __slots__ = ("request_id", "user_agent")

    request_id: str
    user_agent: str


def asker(actor: str, request_id: str = "", user_agent: str = "") -> Asker:
    found = Asker(actor)
    found.request_id, found.user_agent = request_id, user_agent[:USER_AGENT_MAX]
    return found
