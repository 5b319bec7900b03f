"""Sockets: what an endpoint may do with its websocket beside ASGI. The server puts it into the scope."""

from __future__ import annotations

from typing import Final, Protocol

from websockets.frames import Frame, Opcode

#: The scope's extension under which an endpoint finds its `WebSocket`.
EXTENSION: Final = "registry.socket"
#: Seconds between pings; java clients close a watch that is silent for 60 s, so 30 is the most.
PING_EVERY_S: Final = 20.0


class WebSocket(Protocol):
    """One websocket of this registry's own server."""

    #: The handshake has been answered.
    handshake_complete: bool

    def ping_every(self, seconds: float) -> None:
        """Ping at this interval, and tell of each pong (`registry.pong`); to be called before the accept."""

    def deliver(self, frame: bytes) -> None:
        """Write a frame without waiting; drop a client that reads too slowly."""

    def drop(self) -> None:
        """End the connection without a close frame."""


def text_frame(text: bytes) -> bytes:
    """A whole text message as a server sends it."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)
