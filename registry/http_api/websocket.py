"""RegistrySocket: uvicorn's websocket protocol, with what watching and heartbeats by websocket need beside ASGI.

Frames that are the same for many sockets are made once and written as they are; pongs are told to the application;
a connection can be dropped without a close frame; and a stop of the server drops connections in that way, because
clients come back after a break, and not all of them after a farewell (clients.md 1.A, 4.17).
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request

#: Seconds between pings; java clients close a watch that is silent for 60 s, so 30 is the most.
PING_EVERY_S: Final = 20.0
#: Seconds to answer a ping, after which the peer counts as gone.
PONG_WITHIN_S: Final = 60.0
#: Bytes of a client's message. Clients have nothing to say (servicecomb-v4.md 3.9).
MESSAGE_MAX_BYTES: Final = 64
#: Bytes of any one frame: a ping may have so many (RFC 6455 5.5).
FRAME_MAX_BYTES: Final = 125
#: Bytes that may wait for a slow client.
BUFFER_MAX_BYTES: Final = 4 * 1024 * 1024
#: Pongs that may wait to be looked at.
PONGS_MAX: Final = 4

#: The scope's extension under which an application finds its `RegistrySocket`.
EXTENSION: Final = "registry.socket"


def text_frame(text: bytes) -> bytes:
    """A whole text message as a server sends it."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


class RegistrySocket(WebSocketsSansIOProtocol):
    """Given to uvicorn as `ws=`."""

    tell_pongs = False

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application's task has been made, but has not run yet.
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self

    def ping_every(self, seconds: float) -> None:
        """Ping so often; to be called before the handshake is accepted."""
        self.ping_interval = seconds
        self.tell_pongs = True

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        if self.tell_pongs and self.queue.qsize() < PONGS_MAX:
            message: Any = {"type": "registry.pong"}
            self.queue.put_nowait(message)

    def send_receive_event_to_app(self) -> None:
        if sum(map(len, self.frames)) > MESSAGE_MAX_BYTES:
            self.frames = []
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"over {MESSAGE_MAX_BYTES} bytes")
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def deliver(self, frame: bytes) -> None:
        """Write a frame without waiting. A client that reads too slowly is dropped: back again it will pull."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() + len(frame) > BUFFER_MAX_BYTES:
            self.drop()
            return
        self.transport.write(frame)

    def drop(self) -> None:
        """End the connection without a close frame."""
        self.stop_keepalive()
        self.close_sent = True
        self.transport.abort()

    def shutdown(self) -> None:
        self.drop()
