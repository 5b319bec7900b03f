"""Seat: the place of one connection among all, and that of the websocket that it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from registry.serving import refusals
from registry.serving.crowd import Crowd, Excess, Place
from registry.serving.reader import Head
from registry.serving.shared import Shared

#: How many connections that are one too many are listened to at a time. More are let go without a word.
EXTRAS_MAX: Final = 256


class Seat:
    """
    Args:
        crowd: where it is counted.
    """

    __slots__ = ("_crowd", "_place", "_shared", "client_address")

    def __init__(self, shared: Shared, crowd: Crowd) -> None:
        self._shared = shared
        self._crowd = crowd
        self._place: Place | None = None
        #: "" when there is none.
        self.client_address = ""

    @property
    def excess(self) -> Excess:
        """Which limit the connection exceeds."""
        return self._place.excess if self._place is not None else ""

    def take(self, transport: asyncio.BaseTransport) -> bool:
        """Be counted, once; False: there are too many to tell it even that."""
        if self._place is None:
            peer = transport.get_extra_info("peername")
            self.client_address = str(peer[0]) if isinstance(peer, tuple) else ""
            self._place = self._crowd.enter(self.client_address)
            if self.excess and self._crowd.extras > EXTRAS_MAX:
                self.leave()
        return self._place is not None

    def leave(self) -> None:
        """No longer be counted."""
        place, self._place = self._place, None
        if place is not None:
            self._crowd.leave(place)

    def take_for_socket(self, head: Head) -> tuple[bytes, Callable[[], None]]:
        """What is said instead of a websocket, b"" when it is given, and what is to be called when it is over."""
        if head.is_heartbeat:
            return b"", self.leave
        if self.excess:
            return refusals.CONNECTIONS[self.excess], self.leave
        sockets = self._shared.sockets
        place = sockets.enter(self._shared.proxies.client_address(self.client_address, head.headers))
        if place.excess:
            sockets.leave(place)
            return refusals.WEBSOCKETS[place.excess], self.leave

        def leave() -> None:
            sockets.leave(place)
            self.leave()

        return b"", leave
