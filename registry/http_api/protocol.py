"""RegistryProtocol: uvicorn's HTTP protocol, sending header names as they are given.

uvicorn's httptools protocol lower-cases every header name, and java clients look `X-Resource-Revision` up
case-sensitively (clients.md 0.8): in lower case each of their polls would bring the full list. So the sending side of
the request cycle is ours: it also joins head and body into one write.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from registry.domain.errors import InvalidParams
from registry.http_api import reply

#: Bytes of a request's line and headers (servicecomb-v4.md 1.2: 32768 and Go's slack of 4096).
HEAD_MAX_BYTES: Final = 32768 + 4096
TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 35\r\nConnection: close\r\n\r\n431 Request Header Fields Too Large"
)


class _ExactCycle(RequestResponseCycle):
    """One request and its response. `send` accepts what this registry sends: a start with a length, then one body."""

    _head: list[bytes]

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
        else:
            self._finish(message.get("body", b""))

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert not self.response_started
        self.response_started = True
        self.waiting_for_100_continue = False
        head = [STATUS_LINE[status]]
        for name, value in self.default_headers:
            head += (name, b": ", value, b"\r\n")
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            head.append(b"Connection: close\r\n")
        head.append(b"\r\n")
        self._head = head

    def _finish(self, body: bytes) -> None:
        assert self.response_started
        assert not self.response_complete
        if body and self.scope["method"] != "HEAD":
            self._head.append(body)
        self.transport.write(b"".join(self._head))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class _Flow(FlowControl):
    """Reads nothing more of a client while requests of its wait for their turn.

    uvicorn reads on after each answer, so that a client which sends faster than it is answered fills the memory.
    """

    def __init__(self, transport: Any, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class HeadTooLarge(Exception):
    """Raised inside the parser's callbacks, so that it reads nothing of this connection any more."""


class NoTunnel(Exception):
    """Raised in the same way: what follows CONNECT is no request."""


class RegistryProtocol(HttpToolsProtocol):
    """Given to uvicorn as `http=`."""

    _head_bytes = 0
    #: Bytes fed to the parser since it last had something to tell: of a header that has not ended yet.
    _silent_bytes = 0
    #: What is said of it, when that is not that it is no HTTP.
    _refusal = b""
    _head_done = False
    #: The request that is being answered, or was last.
    _active: RequestResponseCycle | None = None
    #: Something came that is not HTTP: nothing after it is read.
    _broken = False
    #: The connection is a websocket's now.
    _upgraded = False
    #: The present message offers an upgrade that is not accepted: it is read again, as if it offered none.
    _again = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._wait_for_client()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the newest request only, and keeps the timer when the connection was lost by an error.
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self._active is not None:
            self._active.disconnected = True
            self._active.message_event.set()
        # They hold this protocol: without them it goes at once, and not when the garbage collector looks.
        self.cycle = self._active = None  # type: ignore[assignment]  # uvicorn begins with None itself

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        self._silent_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self.timeout_keep_alive_task is None and not self._broken:
            self._wait_for_client()
        if self._silent_bytes > HEAD_MAX_BYTES:
            self._refusal = TOO_LARGE
            self.send_400_response("")

    def _parse(self, data: bytes) -> None:
        """Read requests. At the end of a head that offers an upgrade the parser stops, whatever body is announced."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as stop:
                if not self._again:
                    self.handle_websocket_upgrade()
                    return
                rest = memoryview(rest)[stop.args[0] :]
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
            self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((line, *headers, b"", b""))

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._head_done = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        # A longer URI is refused by the application, with its words; this bounds what is kept of one.
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        # What follows a chunked body is no header of the request.
        if not self._head_done:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_done = True
        self._again = False
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise NoTunnel
            self._again = not self._should_upgrade()
        if not self._again:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._again:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def _count(self, size: int) -> None:
        """Count the bytes of a request's head; too many end the connection."""
        self._silent_bytes = 0
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX_BYTES:
            self._refusal = TOO_LARGE
            raise HeadTooLarge

    def _wait_for_client(self) -> None:
        """A client that owes the rest of a request, or its first byte, may take as long as one between two requests."""
        active = self._active
        if self._upgraded or self.transport.is_closing():
            return
        if active is None or active.response_complete or active.more_body:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        # The websocket library wants to be the only one that is asked for.
        others = [header for header in self.headers if header[0] != b"upgrade"]
        self.scope["headers"] = [*others, (b"upgrade", b"websocket")]
        super().handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        """To a websocket only, and only where its first frame would be the next byte on this connection."""
        offered: list[bytes] = []
        for name, value in self.headers:
            if name == b"upgrade":
                offered += value.lower().split(b",")
            elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return False
        return (
            b"websocket" in map(bytes.strip, offered)
            and self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and (self.cycle is None or self.cycle.response_complete)
        )

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP - in its turn: requests before it on the connection are answered first."""
        if self.transport.is_closing() or self._broken:
            return
        self._broken = True
        if self._active is not None and self._active.more_body and not self._active.response_complete:
            # The broken request is being answered already, it is its body that is wrong.
            self._active.disconnected = True
            self._active.message_event.set()
            self._refuse_broken()
            return
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()  # the broken request, which waits for its turn
        self._refuse_when_answered()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is None:
            self._wait_for_client()  # it owes the rest of the next request, which has begun to be answered
        if self._broken:
            self._refuse_when_answered()

    def _refuse_when_answered(self) -> None:
        answered = self._active is None or self._active.response_complete
        if answered and not self.pipeline and not self.transport.is_closing():
            self._refuse_broken()

    def _refuse_broken(self) -> None:
        if self._refusal:
            self.transport.write(self._refusal)
            self.transport.close()
            return
        refusal = reply.error(InvalidParams("the request is not well-formed HTTP"))
        head = [STATUS_LINE[refusal.status]]
        for name, value in (*self.server_state.default_headers, *refusal.headers, (b"Connection", b"close")):
            head += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*head, b"\r\n", refusal.body)))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # The cycle is made deep inside uvicorn's header callback; it has no state yet that the class would change.
        cycle.__class__ = _ExactCycle
        self._active = cycle
        super()._start_asgi_task(cycle, app)
