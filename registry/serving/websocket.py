"""Socket: a connection that asks to be a websocket, by `websockets`' protocol without I/O, as ASGI and a little more.

Frames that are the same for many sockets are made once and written as they are; pongs are told to the application; a
connection can be dropped without a close frame; and a stop of the server drops connections in that way, because
clients come back after a break, and not all of them after a farewell.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Final, cast

from starlette.types import ASGIApp, Message
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from registry.http_api.sockets import EXTENSION, PING_EVERY_S
from registry.serving import refusals
from registry.serving.exchange import STATUS_LINES, ClientDisconnected
from registry.serving.fragments import MESSAGE_MAX_BYTES, Fragments, TooLarge
from registry.serving.handshake import FAILED, UNWANTED, handshake_of, is_secure, scope_of
from registry.serving.inbox import Inbox
from registry.serving.outbox import Outbox
from registry.serving.reader import Head
from registry.serving.shared import Shared

logger = logging.getLogger(__name__)

#: Seconds to answer a ping, after which the peer counts as gone.
PONG_WITHIN_S: Final = 60.0
#: Seconds to answer a close frame.
CLOSE_WITHIN_S: Final = 10.0
#: Bytes of any one frame: a ping may have this much (RFC 6455 5.5).
FRAME_MAX_BYTES: Final = 125
#: Bytes that may wait for a slow client.
BUFFER_MAX_BYTES: Final = 4 * 1024 * 1024


class Socket(asyncio.Protocol):
    """One websocket, from its handshake on. The application finds it in the scope's extension `EXTENSION`.

    Args:
        leave: called once when it is over.
        half_closed: the client sends nothing more.
    """

    def __init__(
        self,
        shared: Shared,
        loop: asyncio.AbstractEventLoop,
        head: Head,
        app: ASGIApp,
        leave: Callable[[], None] = lambda: None,
        half_closed: bool = False,
    ) -> None:
        self._shared = shared
        self._app = app
        self._leave = leave
        self._loop = loop
        self._head = head
        self._protocol = ServerProtocol(max_size=FRAME_MAX_BYTES, logger=logging.getLogger("registry.websockets"))
        self._transport: asyncio.Transport
        self._response: Response | None = None
        self._inbox = Inbox()
        self._outbox: Outbox
        #: What came before the handshake was answered.
        self._early: list[bytes] = []
        self._fragments = Fragments()
        self._ping_every_s = PING_EVERY_S
        self._ping: bytes | None = None
        self._tell_pongs = False
        self.deadline = shared.now_s + shared.limits.body_timeout_s
        #: The handshake has been answered, one way or the other.
        self.handshake_complete = False
        self._refusing = False
        self._half_closed = half_closed
        #: A close frame has been sent, or the connection is over.
        self._closed = False

    # -- the transport -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one only in what it does
        self._shared.connections.add(self)
        self._outbox = Outbox(self._transport, self._shared)
        self._outbox.begin()
        self._protocol.receive_data(handshake_of(self._head))
        events = self._protocol.events_received()
        if len(events) != 1 or not isinstance(events[0], Request):
            self._refuse(refusals.NOT_HTTP)
            return
        self._response = self._protocol.accept(events[0])
        if self._response.status_code != 101:
            self.handshake_complete = self._closed = True
            self._protocol.send_response(self._response)
            self._flush()
            self._transport.close()
            return
        self._inbox.tell({"type": "websocket.connect"})
        task = self._loop.create_task(self._run())
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._shared.connections.discard(self)
        self.deadline = math.inf
        self._inbox.end(1005 if self.handshake_complete else 1006)
        self._closed = True
        self._outbox.end(self)

    def data_received(self, data: bytes) -> None:
        if not self.handshake_complete:
            # Frames before the answer to the handshake: no client may send them, but some cannot wait.
            self._early.append(data)
            self._transport.pause_reading()
            return
        if self._closed and self._protocol.state is not State.CLOSING:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)
            self._receive(event)
        self._flush()
        if self._protocol.parser_exc is not None:
            self._fail()

    def eof_received(self) -> bool:
        """A websocket is not closed by halves: once its handshake is answered, it is over."""
        self._half_closed = True
        return not self.handshake_complete and not is_secure(self._transport)

    def pause_writing(self) -> None:
        self._outbox.fill(self)

    def resume_writing(self) -> None:
        self._outbox.drain(self)

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._outbox.write(data, self)

    # -- frames --------------------------------------------------------------------------------------------------------

    def _receive(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                self._receive_part(frame)
            case Opcode.PONG:
                self._receive_pong(bytes(frame.data))
            case Opcode.CLOSE:
                self._receive_close()
            case _:
                pass  # a ping is answered by the protocol

    def _receive_part(self, frame: Frame) -> None:
        try:
            message = self._fragments.add(frame)
        except TooLarge:
            self._protocol.fail(CloseCode.MESSAGE_TOO_BIG, f"over {MESSAGE_MAX_BYTES} bytes")
            self._fail()
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "not UTF-8")
            self._fail()
        else:
            if message is not None:
                self._inbox.tell_if_room(message)

    def _receive_pong(self, payload: bytes) -> None:
        if payload == self._ping:
            self._ping = None
            self.deadline = self._shared.now_s + self._ping_every_s
        if self._tell_pongs:
            self._inbox.tell_if_room({"type": "registry.pong"})

    def _receive_close(self) -> None:
        received = self._protocol.close_rcvd
        self._inbox.end(received.code if received else 1005, received.reason if received else "")
        self._flush()
        self._closed = True
        self._transport.close()

    def _fail(self) -> None:
        """The protocol has been broken, and says so in a close frame."""
        sent = self._protocol.close_sent
        self._inbox.end(sent.code if sent else 1006, sent.reason if sent else "")
        self._flush()
        self._closed = True
        self._transport.close()

    # -- the application's side ----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            scope = scope_of(self._head, self._transport, {EXTENSION: self})
            await self._app(scope, self._inbox.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:
            if self._inbox.is_ended:
                return
            logger.exception("the application failed", extra={"action": "application_failed"})
            if self.handshake_complete and not self._closed:
                self._protocol.fail(CloseCode.INTERNAL_ERROR)
                self._fail()
        if not self.handshake_complete:
            self._refuse(FAILED)
        elif not self._closed:
            self._close(CloseCode.NORMAL_CLOSURE, "")

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if not self.handshake_complete:
            self._answer_handshake(kind, message)
        elif self._closed:
            if self._inbox.is_ended:
                raise ClientDisconnected("the client has gone")
            raise RuntimeError(f"unexpected ASGI message {kind!r} after the close")
        elif kind == "websocket.send":
            self._send(message)
            await self._outbox.drained()
        elif kind == "websocket.close":
            self._close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def _answer_handshake(self, kind: str, message: Message) -> None:
        if self._inbox.is_ended:
            raise ClientDisconnected("the client has gone")
        if kind == "websocket.accept" and not self._refusing:
            self._accept(message.get("subprotocol"), message.get("headers", ()))
        elif kind == "websocket.close" and not self._refusing:
            self._refuse(UNWANTED)
        elif kind == "websocket.http.response.start" and not self._refusing:
            self._refusing = True
            lines = [STATUS_LINES[message["status"]], self._shared.lines]
            lines += [b"%b: %b\r\n" % header for header in message.get("headers", ())]
            self._transport.write(b"".join((*lines, b"Connection: close\r\n\r\n")))
        elif kind == "websocket.http.response.body" and self._refusing:
            self._transport.write(message.get("body", b""))
            if not message.get("more_body", False):
                self._refuse(b"")
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r} in the handshake")

    def _accept(self, subprotocol: str | None, headers: Sequence[tuple[bytes, bytes]]) -> None:
        response = self._response
        assert response is not None
        if subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        for name, value in headers:
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        self._protocol.send_response(response)
        self._flush()
        self.handshake_complete = True
        self.deadline = self._shared.now_s + self._ping_every_s
        if self._half_closed:
            self._inbox.end(1005)
            self._closed = True
            self._transport.close()
        elif self._early:
            early, self._early = b"".join(self._early), []
            self._transport.resume_reading()
            self.data_received(early)

    def _send(self, message: Message) -> None:
        text: str | None = message.get("text")
        if text is not None:
            self._protocol.send_text(text.encode())
        else:
            self._protocol.send_binary(message["bytes"])
        self._flush()

    def _close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)
        self._flush()
        self._closed = True
        self.deadline = self._shared.now_s + CLOSE_WITHIN_S

    def _refuse(self, response: bytes) -> None:
        self.handshake_complete = self._closed = True
        if not self._transport.is_closing():
            if response:
                self._transport.write(response)
            self._transport.close()

    @property
    def is_over(self) -> bool:
        """Nothing can be sent any more."""
        return self._closed

    # -- beside ASGI ---------------------------------------------------------------------------------------------------

    def ping_every(self, seconds: float) -> None:
        """Ping at this interval, and tell the application of each pong; to be called before the accept."""
        self._ping_every_s = seconds
        self._tell_pongs = True

    def deliver(self, frame: bytes) -> None:
        """Write a frame without waiting. A client that reads too slowly is dropped: back again it will pull."""
        if self._closed or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() + self._outbox.waiting_bytes + len(frame) > BUFFER_MAX_BYTES:
            self.drop()
            return
        self._outbox.write(frame, self)

    def drop(self) -> None:
        """End the connection without a close frame."""
        self._closed = True
        self._outbox.forget(self)
        self._transport.abort()

    def abort(self) -> None:
        self.drop()

    def shutdown(self) -> None:
        self.drop()

    def timed_out(self) -> None:
        """A ping is due, or what was due has not come."""
        if self._closed or not self.handshake_complete or self._ping is not None:
            self.drop()
            return
        self._ping = secrets.token_bytes(4)
        self.deadline = self._shared.now_s + PONG_WITHIN_S
        self._protocol.send_ping(self._ping)
        self._flush()
