"""Turns: the requests of one connection that the parser has read. One is answered at a time, the others wait for it."""

from __future__ import annotations

from collections import deque

from registry.serving.exchange import Exchange


class Turns:
    __slots__ = ("active", "arriving", "waiting")

    def __init__(self) -> None:
        #: What the application answers.
        self.active: Exchange | None = None
        #: Of which the body is being read: the active one, or the last of those that wait.
        self.arriving: Exchange | None = None
        self.waiting: deque[Exchange] = deque()

    @property
    def arrived_bytes(self) -> int:
        """How much has come of those that are not answered yet."""
        exchanges = {self.active, self.arriving, *self.waiting}
        return sum(exchange.arrived_bytes for exchange in exchanges if exchange is not None)

    @property
    def are_owed(self) -> bool:
        """An answer is still to be given."""
        return bool(self.waiting) or (self.active is not None and not self.active.disconnected)

    def half_close(self) -> None:
        """Tell those that are answered, or will be, that nothing more comes."""
        for exchange in (self.active, *self.waiting):
            if exchange is not None:
                exchange.half_close()

    def drop_arriving(self) -> bool:
        """Read no more of the request that is arriving. Returns whether its answer has begun."""
        arriving, self.arriving = self.arriving, None
        if arriving is None:
            return False
        arriving.arrived_bytes = 0
        arriving.disconnect()
        if arriving is self.active:
            self.active = None
            return arriving.started
        self.waiting.remove(arriving)
        return False

    def disconnect(self) -> None:
        """The client has gone.

        They hold the connection: without them it goes at once, and not when the garbage collector looks.
        """
        for exchange in (self.active, self.arriving):
            if exchange is not None:
                exchange.disconnect()
        self.active = self.arriving = None
        self.waiting.clear()
