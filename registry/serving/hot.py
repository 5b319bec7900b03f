"""HotWay: requests that are answered from their bytes, without the parser, and without a task where none must wait.

The connection knows no operation, and the hot way no socket: here is what they say to each other.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from registry.http_api.shared_parts import Part
from registry.serving.again import Again

#: `receive`: the parser has to read this request; nothing has been done.
NOT_HOT: Final = -1
#: `receive`: the request will be taken when all of it has come.
INCOMPLETE: Final = -2


class Owed(Struct, eq=False, gc=False):
    """An answer that comes later. Until then the connection answers nothing else."""

    connection: HotConnection

    @property
    def is_awaited(self) -> bool:
        """The client has not gone."""
        return self.connection.owes(self)


class HotConnection(Protocol):
    """What a hot way may do with a connection."""

    #: The client's address, "" when there is none.
    client_address: str
    #: What it has sent last, if that is known and kept.
    again: Again | None

    @property
    def lines(self) -> bytes:
        """Header lines that every answer has. They are one object for as long as they are the same."""

    def keep(self, again: Again | None) -> None:
        """It has sent this last; None: what cannot be kept."""

    def write(self, parts: Sequence[Part]) -> None:
        """Send the answer to the request that is being received."""

    def owe(self, owed: Owed) -> None:
        """The answer to the request that is being received will be settled later."""

    def owes(self, owed: Owed) -> bool:
        """Whether this answer is still to be settled: it has not been, and the client has not gone."""

    def settle(self, owed: Owed, response: Sequence[Part]) -> None:
        """Send the answer that was owed, if it still is."""

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what must wait, beside the connection."""


class HotWay(Protocol):
    """Recognises and answers requests."""

    def receive(self, data: bytes, at: int, connection: HotConnection) -> int:
        """Answer the request that begins at `at`, and return where it ends; or `NOT_HOT`, or `INCOMPLETE`."""
